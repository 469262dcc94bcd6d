package format

import (
	"bufio"
	"encoding/binary"
	"io"
)

// GuessSnapshot finds the blocks of a snapshot file that [ReadSnapshot]
// refuses, so that a tool can salvage their pairs. Nothing proves what Info
// says. A block that [SnapshotReader.ReadBlock] accepts is intact all the same,
// because the block has a checksum of its own. ok is false if there is no
// trailer to be found. The error is that of a read.
func GuessSnapshot(file io.ReaderAt, size int64, name string) (r *SnapshotReader, ok bool, err error) {
	r = &SnapshotReader{file: file, name: name}
	if size < SnapshotHeaderBytes+trailerBytes {
		return nil, false, nil
	}
	header, err := r.read(0, SnapshotHeaderBytes)
	if err != nil {
		return nil, false, err
	}
	if r.TrailerAt, ok, err = r.guessTrailer(size, binary.BigEndian.Uint32(header[12:])); !ok || err != nil {
		return nil, false, err
	}
	trailer, err := r.read(r.TrailerAt, min(size-r.TrailerAt, maxTrailerBytes))
	if err != nil {
		return nil, false, err
	}
	blocks := min(uint64(binary.BigEndian.Uint32(trailer[36:])), uint64(len(trailer)-trailerBytes)/blockBytes)
	r.Info = decodeInfo(header, trailer[:trailerBytes+blocks*blockBytes])
	return r, true, nil
}

// guessTrailer finds the trailer. It tries the place that the footer says, if
// the trailer's length and its number of blocks agree there. Otherwise it skips
// as many pairs as the header announces.
func (r *SnapshotReader) guessTrailer(size int64, count uint32) (at int64, ok bool, err error) {
	if footerAt := size - footerBytes; footerAt >= SnapshotHeaderBytes+trailerBytes {
		b, err := r.read(footerAt, footerBytes)
		if err != nil {
			return 0, false, err
		}
		n := decodeFooter(b).trailerBytes
		if n >= trailerBytes && n <= uint64(min(footerAt-SnapshotHeaderBytes, maxTrailerBytes)) {
			b, err := r.read(footerAt-int64(n), trailerBytes)
			if err != nil {
				return 0, false, err
			}
			if trailerBytes+blockBytes*uint64(binary.BigEndian.Uint32(b[36:])) == n {
				return footerAt - int64(n), true, nil
			}
		}
	}
	return r.skipPairs(size, count)
}

// skipPairs returns the offset after count pairs.
func (r *SnapshotReader) skipPairs(size int64, count uint32) (at int64, ok bool, err error) {
	at = SnapshotHeaderBytes
	in := bufio.NewReaderSize(io.NewSectionReader(r.file, SnapshotHeaderBytes, size-SnapshotHeaderBytes), blockTarget)
	for range 2 * uint64(count) { // a key and a value each
		length, err := in.Peek(4)
		if err == io.EOF {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		n := 4 + int64(binary.BigEndian.Uint32(length))
		if at += n; at > size-trailerBytes {
			return 0, false, nil
		}
		if _, err := in.Discard(int(n)); err != nil {
			return 0, false, err
		}
	}
	return at, at <= size-trailerBytes, nil
}
