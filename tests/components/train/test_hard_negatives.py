import pytest

from components.train.hard_negatives import read_hard_negatives
from core.errors import BadInputError
from data.index import read_index


@pytest.fixture
def train(tiny_dataset):
    return read_index(tiny_dataset).where(split="train")


def _ids(index, label):
    return index.where(label=label).column("sample_id").tolist()


def _write(tmp_path, lines):
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_list_names_samples_by_id_by_medium_or_by_file_name(train, tmp_path):
    authentic = train.where(label=0).rows()
    lines = ["# swept with x", authentic[0]["sample_id"], "", f"  {authentic[1]['media_id']} "]
    lines.append(authentic[2]["media_id"].rpartition("/")[2].removesuffix(".png"))
    found = read_hard_negatives(_write(tmp_path, lines), train)
    assert found == {row["sample_id"] for row in authentic[:3]}


def test_an_index_folder_names_its_samples(train, tiny_dataset, tmp_path):
    import pyarrow.parquet as pq

    subset = train.where(label=0)
    pq.write_table(
        subset.table.slice(0, 2).replace_schema_metadata(train.table.schema.metadata), tmp_path / "index.parquet"
    )
    (tmp_path / "spec.json").write_bytes((tiny_dataset / "spec.json").read_bytes())
    assert read_hard_negatives(tmp_path, train) == set(_ids(train, 0)[:2])


def test_ids_outside_the_train_split_are_listed(train, tiny_dataset, tmp_path):
    elsewhere = read_index(tiny_dataset).where(split="test").column("sample_id").tolist()
    path = _write(tmp_path, [_ids(train, 0)[0], elsewhere[0], "nonsense"])
    with pytest.raises(BadInputError, match="2 of its ids are no samples of the train split") as caught:
        read_hard_negatives(path, train)
    assert elsewhere[0] in str(caught.value) and "nonsense" in str(caught.value)
    assert _ids(train, 0)[0] not in str(caught.value)


def test_a_long_list_of_wrong_ids_is_cut_short(train, tmp_path):
    with pytest.raises(BadInputError, match="w9 and 20 more"):
        read_hard_negatives(_write(tmp_path, [f"w{number}" for number in range(30)]), train)


def test_a_forged_sample_is_no_hard_negative(train, tmp_path):
    forged = _ids(train, 1)[0]
    with pytest.raises(BadInputError, match=f"1 of its ids are not authentic: {forged}"):
        read_hard_negatives(_write(tmp_path, [forged]), train)


def test_of_a_list_that_is_not_there_it_is_said_what_makes_it(train, tmp_path):
    with pytest.raises(BadInputError, match="does not exist: the sweep makes it, python -m") as caught:
        read_hard_negatives(tmp_path / "sweep", train)
    assert f"--output {tmp_path / 'sweep'}" in str(caught.value)


def test_what_is_neither_index_nor_list_is_refused(train, tmp_path):
    with pytest.raises(BadInputError, match="neither a sample index nor"):
        read_hard_negatives(tmp_path, train)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(BadInputError, match="cannot be read as a list"):
        read_hard_negatives(tmp_path / "binary", train)
