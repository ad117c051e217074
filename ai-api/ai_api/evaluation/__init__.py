"""How good a version is, and whether it may become the champion."""
