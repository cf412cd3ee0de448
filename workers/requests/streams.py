"""The names that portals, their rights in Redis and the reader of the queue door use for streams."""


def request_stream(namespace: str, portal: str) -> str:
    """Returns the key of the stream to which a portal adds its requests."""
    return f"{namespace}:stream:{portal}"


def answer_stream(namespace: str, portal: str) -> str:
    """Returns the key of the stream from which a portal reads whether its requests were accepted."""
    return f"{namespace}:answers:{portal}"
