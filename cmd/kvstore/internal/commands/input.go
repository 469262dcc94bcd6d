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
	size  int64 // 0 if unknown
	close func() error
}

// input opens a file, or the standard input for "-". Once ctx has ended, reads
// fail with errInterrupted, also while a pipe or a terminal has no input.
func (a *app) input(ctx context.Context, name string) (*inputFile, error) {
	in := &inputFile{Reader: a.stdin, close: func() error { return nil }}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in.Reader, in.close = f, f.Close
	}
	if f, ok := in.Reader.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
		}
	}
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(errInterrupted) })
	go pump(w, in.Reader) // may wait for the standard input until the process ends
	in.Reader = r
	return in, nil
}

// pump copies r to w in pieces of inputBytes.
func pump(w *io.PipeWriter, r io.Reader) {
	_, err := io.CopyBuffer(w, onlyReader{r}, make([]byte, inputBytes))
	w.CloseWithError(err)
}

// onlyReader hides the WriteTo of an *os.File, which io.CopyBuffer would call
// instead of using its buffer.
type onlyReader struct{ io.Reader }
