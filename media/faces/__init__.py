"""Faces in pictures and video: finding, following and cutting them out, and the scores of a medium."""
