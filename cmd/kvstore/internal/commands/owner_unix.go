//go:build unix

package commands

import (
	"io/fs"
	"os"
	"syscall"
)

// inherit gives f the mode and the owner of the file that it replaces. A user
// other than root may not give files away: then f stays the user's, as a copy
// would, and a group that cannot be kept gets no rights.
func inherit(f *os.File, old fs.FileInfo) error {
	mode := old.Mode().Perm()
	owner, ok := old.Sys().(*syscall.Stat_t)
	if ok && f.Chown(int(owner.Uid), int(owner.Gid)) != nil && f.Chown(-1, int(owner.Gid)) != nil {
		mode &^= 0o070
	}
	return f.Chmod(mode)
}
