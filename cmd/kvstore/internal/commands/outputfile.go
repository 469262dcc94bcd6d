package commands

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"kvstore/internal/vfs"
)

// outputFile is where a command writes a result. There are two ways. A regular
// file is replaced: the new file gets its name when all of it is on disk, so if
// anything fails or a signal comes, the old file stays. Anything else is
// written in place: a stream, a device, a pipe, an open file such as
// /dev/stdout, and a file that is mounted by itself.
type outputFile struct {
	app   *app
	name  string      // not of a symbolic link, but of the file it leads to
	old   fs.FileInfo // of the file that is replaced; nil if there is none
	place io.Writer   // what is written in place; nil if the file is replaced
	mount bool        // place is a file that is mounted by itself
}

// maxLinks bounds a chain of symbolic links, as the kernel does.
const maxLinks = 40

// output prepares an output file, or the standard output for "-". It finds out
// early whether the file can be written, and changes nothing yet. It may wait
// for the reader of a pipe, so it is called outside of protect.
func (a *app) output(name string) (*outputFile, error) {
	fd, isOpen := descriptor(name)
	if name == "-" || isOpen && fd == 1 {
		return &outputFile{app: a, place: a.stdout}, nil
	}
	if isOpen {
		f, err := duplicate(fd, name)
		return &outputFile{app: a, name: name, place: f}, err
	}
	name, err := followLinks(name)
	if err != nil {
		return nil, err
	}
	o := &outputFile{app: a, name: name}
	switch o.old, err = os.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return o, o.probe()
	case err != nil:
		return nil, err
	case o.old.Mode().IsRegular():
		if o.mount = isMount(name); !o.mount {
			return o, o.probe()
		}
	}
	o.place, err = os.OpenFile(name, os.O_WRONLY, 0)
	return o, err
}

// isStdout reports whether the output is the standard output.
func (o *outputFile) isStdout() bool { return o.place == io.Writer(o.app.stdout) }

// write calls do with a buffer before the output.
func (o *outputFile) write(do func(w *bufio.Writer) error) error {
	switch place := o.place.(type) {
	case nil:
		return o.app.protect(func(ctx context.Context) error { return o.replace(ctx, do) })
	case *os.File:
		return errors.Join(o.overwrite(place, do), place.Close())
	default:
		return writeTo(place, do)
	}
}

// overwrite writes in place. An open file of the shell is written where the
// shell left it, so only a file that has a name is truncated.
func (o *outputFile) overwrite(f *os.File, do func(w *bufio.Writer) error) error {
	if o.mount {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	if err := writeTo(&stream{w: f, ctx: o.app.ctx}, do); err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err // a pipe or a device cannot be synced
	}
	return f.Sync()
}

// replace writes a temporary file in the same directory and renames it.
func (o *outputFile) replace(ctx context.Context, do func(w *bufio.Writer) error) error {
	f, err := o.createTemp()
	if err != nil {
		return err
	}
	err = writeTo(&stream{w: f, ctx: ctx}, do)
	if err == nil && o.old != nil {
		err = inherit(f, o.old) // now, since a write clears the setuid and setgid bits
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), o.name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(o.name))
}

// probe reports an error if no file can be created beside the output, or if the
// old file cannot be replaced.
func (o *outputFile) probe() error {
	return o.app.protect(func(context.Context) error {
		f, err := o.createTemp()
		switch {
		case o.old != nil && errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%s cannot be replaced, since no file can be made beside it: %w; "+
				"write to - and redirect the output to overwrite it in place", o.name, err)
		case err != nil:
			return fmt.Errorf("%s cannot be written: %w", o.name, err)
		}
		if o.old != nil {
			err = errors.Join(inherit(f, o.old), replaceable(o.name))
		}
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	})
}

// createTemp creates a file beside the output. Only a file that replaces none
// gets the mode of new files at once.
func (o *outputFile) createTemp() (*os.File, error) {
	mode := fs.FileMode(0o666)
	if o.old != nil {
		mode = 0o600
	}
	dir, _ := filepath.Split(o.name)
	for {
		name := fmt.Sprintf("%skvstore-%08x.tmp", dir, rand.Uint32())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// followLinks returns the name of the file to which symbolic links lead. The
// file need not exist.
func followLinks(name string) (string, error) {
	for range maxLinks {
		target, err := os.Readlink(name)
		if err != nil {
			return name, nil // no link
		}
		if dir, _ := filepath.Split(name); !filepath.IsAbs(target) {
			target = dir + target
		}
		name = target
	}
	return "", &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := vfs.OS{}.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
