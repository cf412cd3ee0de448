"""What people type: seed, enqueue, status, retry, demo. Thin; what is domain lives in ``workers/services``."""
