package format

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// GuessSnapshot finds the blocks of a snapshot file that [ReadSnapshot]
// refuses, so that a tool can salvage their pairs. Nothing proves what Info
// says. A block that [SnapshotReader.ReadPairs] accepts is intact all the same,
// because the block has a checksum of its own. ok is false if there is no
// trailer to be found. The error is that of a read.
//
// The deadlines are those of pairs that are counted from the file's start. So
// they are there only if the trailer's checksum is right, or else if header and
// trailer agree in all numbers; otherwise [SnapshotReader.HasDeadlines] is
// false.
func GuessSnapshot(file io.ReaderAt, size int64, name string) (r *SnapshotReader, ok bool, err error) {
	r = &SnapshotReader{file: file, name: name}
	if size < SnapshotHeaderBytes+trailerBytes {
		return nil, false, nil
	}
	header, err := r.read(0, SnapshotHeaderBytes)
	if err != nil {
		return nil, false, err
	}
	version, ok, err := r.guessTrailer(size, header)
	if !ok || err != nil {
		return nil, false, err
	}
	trailer, err := r.read(r.TrailerAt, min(size-r.TrailerAt, maxTrailerBytes))
	if err != nil {
		return nil, false, err
	}
	r.Info, _ = decodeInfo(version, header, trailer) // less than whole, or with the footer behind it
	if isSealed(trailer, 0) {
		r.Info.countPairs() // only the header is wrong
	}
	r.guessDeadlines()
	return r, true, nil
}

// guessDeadlines finds the end of the pairs, if it is not known, and decides
// whether the deadlines can be trusted.
func (r *SnapshotReader) guessDeadlines() {
	trailerAt := uint64(r.TrailerAt)
	pairsEnd := r.Info.pairsEnd(trailerAt)
	if r.PairsEnd == 0 {
		r.PairsEnd = int64(min(pairsEnd, trailerAt))
	}
	if len(r.Info.Deadlines) > 0 && pairsEnd == uint64(r.PairsEnd) &&
		cmp.Or(r.Info.checkBlocks(trailerAt), r.Info.checkDeadlines(trailerAt)) == "" {
		r.deadlines = newDeadlineCache(r)
	}
}

// countPairs sets the number of pairs to that of the blocks.
func (info *Snapshot) countPairs() {
	info.Count = 0
	for _, b := range info.Blocks {
		info.Count += b.Pairs
	}
}

// HasDeadlines reports whether the pairs have their deadlines, as far as they
// are intact. It is true if no pair has one.
func (r *SnapshotReader) HasDeadlines() bool {
	return r.deadlines != nil || len(r.Info.Deadlines) == 0 && r.PairsEnd == r.TrailerAt
}

// guessTrailer finds the trailer, and with it the version. It tries the place
// that the footer says, if the trailer's length and its numbers of blocks agree
// there. Otherwise it skips as many pairs as the header announces.
func (r *SnapshotReader) guessTrailer(size int64, header []byte) (version uint32, ok bool, err error) {
	if footerAt := size - footerBytes; footerAt >= SnapshotHeaderBytes+trailerBytes {
		b, err := r.read(footerAt, footerBytes)
		if err != nil {
			return 0, false, err
		}
		n := decodeFooter(b).trailerBytes
		if n >= trailerBytes && n <= uint64(min(footerAt-SnapshotHeaderBytes, maxTrailerBytes)) {
			r.TrailerAt = footerAt - int64(n)
			if version, err = r.versionOf(n); version > 0 || err != nil {
				return version, err == nil, err
			}
		}
	}
	at, ok, err := r.skipPairs(size, binary.BigEndian.Uint32(header[12:]))
	if !ok || err != nil {
		return 0, false, err
	}
	r.PairsEnd = at
	r.TrailerAt, err = r.skipDeadlines(size, at, crc32.Checksum(header, castagnoli))
	if r.TrailerAt > at {
		return versionWithDeadlines, err == nil, err
	}
	return Version, err == nil, err
}

// versionOf returns the version in which a trailer of n bytes is whole, 0 if it
// is in none.
func (r *SnapshotReader) versionOf(n uint64) (version uint32, err error) {
	b, err := r.read(r.TrailerAt, trailerBytes)
	if err != nil {
		return 0, err
	}
	plain := trailerBytes + blockBytes*uint64(binary.BigEndian.Uint32(b[36:]))
	if plain == n {
		return Version, nil
	}
	if plain+4 > n {
		return 0, nil
	}
	if b, err = r.read(r.TrailerAt+int64(plain), 4); err != nil {
		return 0, err
	}
	if plain+4+deadlineBlockBytes*uint64(binary.BigEndian.Uint32(b)) == n {
		return versionWithDeadlines, nil
	}
	return 0, nil
}

// skipDeadlines returns the offset of the trailer behind the deadlines that
// begin at an offset. It looks for the header's checksum, which the trailer
// begins with. If it is not found, there are none.
func (r *SnapshotReader) skipDeadlines(size, pairsEnd int64, checksum uint32) (trailerAt int64, err error) {
	in := bufio.NewReaderSize(io.NewSectionReader(r.file, pairsEnd, size-pairsEnd), blockTarget)
	for at := pairsEnd; at <= size-trailerBytes; at += deadlineEntryBytes {
		b, err := in.Peek(deadlineEntryBytes)
		if err != nil {
			return 0, err
		}
		if binary.BigEndian.Uint32(b) == checksum {
			return at, nil
		}
		_, _ = in.Discard(deadlineEntryBytes) // it was peeked at
	}
	return pairsEnd, nil
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
