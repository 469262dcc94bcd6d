package commands

import "testing"

func TestCounted(t *testing.T) {
	for _, c := range []struct {
		n    uint64
		noun string
		want string
	}{
		{0, "fsync", "0 fsyncs"},
		{1, "fsync", "1 fsync"},
		{2, "key", "2 keys"},
		{1, "bad line", "1 bad line"},
		{1<<32 + 1, "byte", "4,294,967,297 bytes"},
	} {
		if got := counted(c.n, c.noun); got != c.want {
			t.Errorf("%d: %q, want %q", c.n, got, c.want)
		}
	}
}
