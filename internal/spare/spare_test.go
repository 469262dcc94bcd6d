package spare

import "testing"

// Memory grows, and is used again.
func TestLarge(t *testing.T) {
	var l Large
	l.Release() // nothing is there yet
	first := l.Bytes(100)
	if len(first) != 100 || &l.Bytes(50)[0] != &first[0] {
		t.Error("a smaller piece has other memory")
	}
	if b := l.Bytes(101); len(b) != 101 || cap(b) != 125 {
		t.Errorf("%d bytes of %d, want 101 of 125", len(b), cap(b))
	}
	if l.Release(); l.bytes != nil {
		t.Error("memory is kept")
	}
}
