//go:build unix

package commands

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// descriptor returns the number of the open file that name stands for, such as
// /dev/stdout or /dev/fd/3. On Linux, opening such a name again gives another
// position in the file, and loses that the shell appends to it; a socket cannot
// be opened at all.
func descriptor(name string) (fd int, ok bool) {
	for range maxLinks {
		dir, base := filepath.Split(name)
		real, err := filepath.EvalSymlinks(filepath.Clean(dir))
		if err != nil {
			return 0, false
		}
		if isDescriptorDir(real) {
			fd, err := strconv.Atoi(base)
			return fd, err == nil
		}
		target, err := os.Readlink(name)
		if err != nil {
			return 0, false // not a link
		}
		if !filepath.IsAbs(target) {
			target = dir + target
		}
		name = target
	}
	return 0, false
}

var threadDescriptors = regexp.MustCompile(fmt.Sprintf(`^/proc/%d/(task/[0-9]+/)?fd$`, os.Getpid()))

// isDescriptorDir reports whether dir has this process's open files.
func isDescriptorDir(dir string) bool {
	return dir == "/dev/fd" || threadDescriptors.MatchString(dir)
}

// duplicate opens an open file once more, as the same one.
func duplicate(fd int, name string) (*os.File, error) {
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(again), name), nil
}
