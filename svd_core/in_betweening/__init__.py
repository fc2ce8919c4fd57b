"""Clips that go from picture to picture: pairs of pictures to clips, chains of them, what is kept on disk."""
