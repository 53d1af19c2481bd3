"""The one exception that users read."""


class Bundle3DError(ValueError):
    """A refusal in one sentence: what was expected, what came, and what to do next."""
