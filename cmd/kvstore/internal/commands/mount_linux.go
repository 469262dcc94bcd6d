package commands

import "golang.org/x/sys/unix"

// isMount reports whether a file is mounted by itself, as containers do: no
// other file can get its name. It needs Linux 5.8.
func isMount(name string) bool {
	var found unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, 0, &found)
	return err == nil && found.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
