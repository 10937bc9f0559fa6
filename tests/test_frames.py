"""Sentences are printed whole, also in parts of a table."""

from pixnet_sd._frames import SentenceFrame

SENTENCE = "color explains 45.9 % of the expression; shifted by a spot to the left, it would explain 12 % of it"


def test_sentences_are_printed_whole() -> None:
    frame = SentenceFrame({"verdict": ["ok", "ok"], "says": [SENTENCE, "nothing"]})
    for part in (frame, frame.set_index("verdict"), frame[frame["says"] == SENTENCE], frame.copy()):
        assert SENTENCE in repr(part)
        assert SENTENCE in str(part._repr_html_())
