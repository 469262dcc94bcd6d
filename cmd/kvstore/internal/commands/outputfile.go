package commands

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kvstore/internal/vfs"
)

// output calls do with a buffer before a file, or before the standard output
// for "-". A regular file is replaced atomically: it gets its name when all of
// it is durable, so if anything fails or ctx ends, the old file stays. Anything
// else, such as /dev/null, is written to directly.
func (a *app) output(ctx context.Context, name string, do func(w *bufio.Writer) error) error {
	if name == "-" {
		return a.print(do)
	}
	switch info, err := os.Stat(name); {
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(writeAll(ctx, f, do), f.Close())
	case err == nil:
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return err // without it, the rename would replace the link, not the file
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return replaceFile(ctx, name, do)
}

// replaceFile writes a temporary file in the same directory and renames it.
func replaceFile(ctx context.Context, name string, do func(w *bufio.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	err = errors.Join(writeAll(ctx, f, do), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := vfs.OS{}.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// writeAll calls do with a buffer before f and makes a regular file durable.
func writeAll(ctx context.Context, f *os.File, do func(w *bufio.Writer) error) error {
	w := bufio.NewWriterSize(contextWriter{ctx, f}, outputBytes)
	if err := flushed(w, do(w)); err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err // a pipe or a device cannot be synced
	}
	return f.Sync()
}

// contextWriter is a writer that fails with errInterrupted once ctx has ended.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, errInterrupted
	}
	return c.w.Write(b)
}
