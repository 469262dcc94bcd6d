package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"kvstore"
)

const (
	pairsBytes          = 1 << 20 // of a view, read at once
	snapshotHeaderBytes = 16      // magic (4), timestamp (8), number of pairs (4)
)

// allPairs calls do with all pairs of a view, in no order; key and value are valid until it returns. It reads the snapshot file that the
// view is written as: unlike a scan, that needs no index of the keys, which takes as much memory again as small pairs do.
func allPairs(v *kvstore.View, do func(key, value []byte) error) error {
	r, w := io.Pipe()
	var writer sync.WaitGroup
	writer.Go(func() {
		_, err := v.WriteTo(w)
		w.CloseWithError(err)
	})
	p := &pairReader{r: bufio.NewReaderSize(r, pairsBytes)}
	err := p.all(do)
	if err == nil {
		_, err = io.Copy(io.Discard, p.r) // the trailer, and then how WriteTo ended
	}
	err = errors.Join(err, r.Close()) // which ends WriteTo
	writer.Wait()
	return err
}

// pairReader reads pairs from a snapshot file that this process writes, so that it need not be verified. docs/FORMAT.md has the format.
type pairReader struct {
	r    *bufio.Reader
	pair []byte // key and value; reused
}

func (p *pairReader) all(do func(key, value []byte) error) error {
	var header [snapshotHeaderBytes]byte
	if _, err := io.ReadFull(p.r, header[:]); err != nil {
		return err
	}
	for range binary.BigEndian.Uint32(header[12:]) {
		p.pair = p.pair[:0]
		keyBytes, err := p.field(kvstore.MaxKeyBytes)
		if err != nil {
			return err
		}
		if _, err := p.field(kvstore.MaxValueBytes); err != nil {
			return err
		}
		if err := do(p.pair[:keyBytes:keyBytes], p.pair[keyBytes:]); err != nil {
			return err
		}
	}
	return nil
}

// field appends a field to the pair: its length in four bytes, and its bytes.
func (p *pairReader) field(limit int) (size int, err error) {
	var length [4]byte
	if _, err := io.ReadFull(p.r, length[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if int64(n) > int64(limit) {
		return 0, fmt.Errorf("a field of %d bytes in a snapshot, limit %d", n, limit)
	}
	begin := len(p.pair)
	p.pair = append(p.pair, make([]byte, n)...)
	_, err = io.ReadFull(p.r, p.pair[begin:])
	return int(n), err
}
