package commands

import (
	"context"
	"io"
	"os"
)

// inputBytes is how much input is read at once.
const inputBytes = 1 << 20

// inputFile is a command's input.
type inputFile struct {
	io.Reader
	size   int64 // 0 if unknown
	closer io.Closer
	pipe   *io.PipeReader // what until has returned
}

// input opens a file, or the standard input for "-". It may wait for the other
// end of a pipe, so it is called outside of protect.
func (a *app) input(name string) (*inputFile, error) {
	in := &inputFile{Reader: a.stdin, closer: io.NopCloser(nil)}
	if fd, ok := descriptor(name); name != "-" && (!ok || fd != 0) {
		f, err := openInput(name, fd, ok)
		if err != nil {
			return nil, err
		}
		in.Reader, in.closer = f, f
	}
	if f, ok := in.Reader.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
		}
	}
	return in, nil
}

// openInput opens a file by its name, or one that is open already by its
// number.
func openInput(name string, fd int, open bool) (*os.File, error) {
	if open {
		return duplicate(fd, name)
	}
	return os.Open(name)
}

// until returns a reader of the input that fails with errInterrupted once ctx
// has ended, also while a pipe or a terminal has no input.
func (in *inputFile) until(ctx context.Context) io.Reader {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(errInterrupted) })
	go pump(w, in.Reader) // may wait for input until the process ends
	in.pipe = r
	return r
}

// close closes the file, and ends the pump when it has no more to read.
func (in *inputFile) close() error {
	if in.pipe != nil {
		_ = in.pipe.Close() // it returns nil
	}
	return in.closer.Close()
}

// pump copies r to w in pieces of inputBytes.
func pump(w *io.PipeWriter, r io.Reader) {
	_, err := io.CopyBuffer(w, onlyReader{r}, make([]byte, inputBytes))
	w.CloseWithError(err)
}

// onlyReader hides the WriteTo of an *os.File, which io.CopyBuffer would call
// instead of using its buffer.
type onlyReader struct{ io.Reader }
