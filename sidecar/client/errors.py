"""What a caller may have to catch, besides grpc.RpcError."""


class InvalidInput(ValueError):
    """An argument that cannot be used; nothing was sent.

    `reason` says what was given and what is allowed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
