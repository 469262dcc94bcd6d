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

// output has do write to a file, or to the standard output for -. The file gets its name when all of it is on disk: until then, and
// if anything fails or ctx ends, the one that had the name before stays. What is no file, such as /dev/null, is just written to.
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
			return err // the link would be replaced, and not the file
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return replaceFile(ctx, name, do)
}

// replaceFile writes a temporary file beside name and renames it.
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

// writeAll has do write to f and makes that durable.
func writeAll(ctx context.Context, f *os.File, do func(w *bufio.Writer) error) error {
	w := bufio.NewWriterSize(untilDone{ctx, f}, outputBytes)
	if err := flushed(w, do(w)); err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err // there is nothing to sync in a pipe
	}
	return f.Sync()
}

// untilDone is a writer that fails with errInterrupted once ctx has ended.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u untilDone) Write(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, errInterrupted
	}
	return u.w.Write(b)
}
