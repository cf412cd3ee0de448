"""What people type: seed, enqueue, status, retry, demo. Thin; the domain lives in the folders of ``workers``."""
