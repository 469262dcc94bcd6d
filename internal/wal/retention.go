package wal

import (
	"kvstore/internal/datadir"
	"kvstore/internal/vfs"
)

// Prune removes the segments and snapshots that the durable snapshot with this
// number makes superfluous (0: none does), and the files named in also. What
// decides is format.Files.Below; every part of a log that goes while it is in
// use goes through here.
func Prune(dir vfs.Dir, snapshot uint64, also ...string) error {
	if snapshot == 0 {
		return datadir.Remove(dir, also)
	}
	files, err := datadir.List(dir)
	if err != nil {
		return err
	}
	return datadir.Remove(dir, append(files.Below(snapshot), also...))
}
