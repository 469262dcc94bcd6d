package commands

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// replaceable returns an error if the regular file of this name must not be
// replaced: it is immutable or append-only, or it is another user's and the
// directory is as /tmp. A rename would fail only after all the work. So would
// removing the file as if it were a directory, but the kernel says whether it
// may be removed before it says that it is no directory.
func replaceable(name string) error {
	if err := unix.Rmdir(name); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s cannot be replaced: %w: it is immutable, append-only, or another user's", name, err)
	}
	return nil
}
