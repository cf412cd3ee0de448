"""The commands people type. Each is thin; the domain lives in the other folders of ``workers``."""
