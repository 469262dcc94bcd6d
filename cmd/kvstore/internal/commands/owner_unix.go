//go:build unix

package commands

import (
	"io/fs"
	"os"
	"syscall"
)

// inherit gives f the mode and the owner of the file that it replaces. A user
// other than root may not give files away: then f stays the user's, as a copy
// would, without the setuid bit. A group that cannot be kept gets no rights.
func inherit(f *os.File, old fs.FileInfo) error {
	mode := old.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	owner, ok := old.Sys().(*syscall.Stat_t)
	if ok && f.Chown(int(owner.Uid), int(owner.Gid)) != nil {
		mode &^= fs.ModeSetuid
		if f.Chown(-1, int(owner.Gid)) != nil {
			mode &^= 0o070 | fs.ModeSetgid
		}
	}
	return f.Chmod(mode)
}
