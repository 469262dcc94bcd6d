//go:build !unix

package commands

import (
	"errors"
	"os"
)

// descriptor returns the number of the open file that name stands for. Here, no
// names do.
func descriptor(string) (fd int, ok bool) { return 0, false }

func duplicate(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }
