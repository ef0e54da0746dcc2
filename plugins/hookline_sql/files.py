"""The files of a ledger, looked at: they should still be those that were opened.

SQLite writes on to a file that was deleted or moved away, and says nothing; what is committed then is nowhere.
"""

from __future__ import annotations

import os
from pathlib import Path

from hookline.errors import StorageError

_Identity = tuple[int, int]


class FileLostError(StorageError):
    """The database that is open is not the one that others find."""


class LogLostError(StorageError):
    """The write-ahead log was removed; those who have it open can still save what it holds."""


class IndexLostError(StorageError):
    """The log's index, which tells others what was committed, is not the one that is in use here."""


class DamagedError(StorageError):
    """The content is not what was written; nothing that is read or written from now on can be trusted."""


class LedgerFiles:
    """The database file, its write-ahead log and the log's index, as they were when they were remembered.

    All methods raise StorageError, naming the file and the mend.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._log, self._index = str(file), f"{file}-wal", f"{file}-shm"
        self._known: dict[str, _Identity] = {}
        self.remember_file()
        self.remember_log()

    def remember_file(self) -> None:
        """From now on the file that is there now is the right one."""
        self._remember(self._file)

    def remember_log(self) -> None:
        """From now on the log and the index that are there now are the right ones."""
        self._remember(self._log)
        self._remember(self._index)

    def are_unchanged(self) -> bool:
        """Whether the database and its log are those that were remembered; the quick way, for every commit."""
        try:
            file, log = os.stat(self._file), os.stat(self._log)
        except OSError:
            return False
        known = self._known
        return (
            (file.st_dev, file.st_ino) == known[self._file]
            and (log.st_dev, log.st_ino) == known.get(self._log)
            and file.st_size > 0
        )

    def have_log(self) -> bool:
        """Whether there are a log and an index, whosever they are."""
        return None not in (_stat(self._log), _stat(self._index))

    def check_file(self) -> None:
        """Raise unless the database is the file that was remembered."""
        file = self._file
        found = _stat(file)
        if found is None:
            raise FileLostError(
                f"{file} was deleted or moved away while it was open: put that file back, or restart, "
                "which begins with an empty one"
            )
        if (found.st_dev, found.st_ino) != self._known[file]:
            raise FileLostError(
                f"{file} was replaced by another file while it was open: put the first one back, "
                "or restart, which uses the other"
            )
        if not found.st_size:
            raise DamagedError(f"{file} was emptied while it was open: stop the server, restore the file from a backup")

    def check_commit(self) -> None:
        """Raise unless what was just committed is in the files that others see.

        Raises:
            LogLostError: it is in a log that nobody else can find.
        """
        self.check_file()
        self._check_log()

    def check(self) -> None:
        """Raise unless all three are the files that were remembered.

        Raises:
            LogLostError: the log was removed.
            IndexLostError: the index was removed or replaced.
        """
        self.check_commit()
        if self._index in self._known and not self._is_known(self._index, _stat(self._index)):
            raise IndexLostError(f"{self._index} was removed while it was open: the next commit makes another")

    def _check_log(self) -> None:
        if self._log not in self._known:
            return
        found = _stat(self._log)
        if self._is_known(self._log, found):
            return
        if found is not None and found.st_size:
            raise StorageError(
                f"{self._log} was replaced by another file while it was open: "
                "end every process that uses the database, then start again"
            )
        raise LogLostError(f"{self._log} was removed while it was open: the next commit saves what it held")

    def _is_known(self, file: str, found: os.stat_result | None) -> bool:
        return found is not None and (found.st_dev, found.st_ino) == self._known.get(file)

    def _remember(self, file: str) -> None:
        found = _stat(file)
        if found is None:
            self._known.pop(file, None)
        else:
            self._known[file] = (found.st_dev, found.st_ino)


def _stat(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{file} cannot be looked at ({error.strerror}): check its folder and its disk") from error
