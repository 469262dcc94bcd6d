package host

import "testing"

// The resident memory of a process is at least that of its touched pages.
func TestResidentBytes(t *testing.T) {
	before, err := ResidentBytes()
	if err != nil || before < 1<<20 || before > 1<<40 {
		t.Fatalf("%d bytes, %v", before, err)
	}
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = 1
	}
	after, err := ResidentBytes()
	if err != nil || after < before+32<<20 {
		t.Errorf("%d bytes, %d with a block of %d, %v", before, after, len(block), err)
	}
	if block[len(block)-1] != 1 {
		t.Error("the block is gone")
	}
}
