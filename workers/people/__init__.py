"""The data about a person: export, erasure, retention limits, and detachment by the link "this is not me"."""
