package kvstore

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// writeSnapshot makes a durable snapshot file of pairs, of which there must be info.count. On error there is no
// such file, or, if only the last fsync failed, a whole one.
func writeSnapshot(dir vfs.Dir, info *snapshotInfo, pairs iter.Seq2[string, []byte]) error {
	name := snapshotName(info.number)
	err := writeSnapshotFile(dir, name+tmpSuffix, info, pairs)
	if err == nil {
		err = dir.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		return fmt.Errorf("kvstore: write %s: %w", name, discard(dir, name+tmpSuffix, err))
	}
	return syncDir(dir)
}

func writeSnapshotFile(dir vfs.Dir, name string, info *snapshotInfo, pairs iter.Seq2[string, []byte]) error {
	file, err := dir.Create(name)
	if err != nil {
		return err
	}
	err = encodeSnapshot(io.NewOffsetWriter(file, 0), info, pairs)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// encodeSnapshot writes a snapshot file to w, a block at a time, and fills in info.blocks.
func encodeSnapshot(w io.Writer, info *snapshotInfo, pairs iter.Seq2[string, []byte]) error {
	buf := appendSnapshotHeader(nil, info) // grows to a block's size if there is as much to write
	if _, err := w.Write(buf); err != nil {
		return err
	}
	e := snapshotEncoder{w: w, info: info, offset: snapshotHeaderBytes, block: buf[:0]}
	written := uint64(0)
	for key, value := range pairs {
		if err := e.add(key, value); err != nil {
			return err
		}
		written++
	}
	if written != uint64(info.count) {
		return fmt.Errorf("%d pairs where %d were announced", written, info.count)
	}
	if err := e.flush(); err != nil {
		return err
	}
	_, err := w.Write(appendSnapshotTail(e.block, info))
	return err
}

// snapshotEncoder gathers pairs into blocks.
type snapshotEncoder struct {
	w      io.Writer
	info   *snapshotInfo
	offset uint64 // of the block
	block  []byte
	pairs  uint32 // in the block
}

func (e *snapshotEncoder) add(key string, value []byte) error {
	e.block = appendPair(e.block, key, value)
	e.pairs++
	if len(e.block) < snapshotBlockTarget {
		return nil
	}
	return e.flush()
}

func (e *snapshotEncoder) flush() error {
	if e.pairs == 0 {
		return nil
	}
	e.info.blocks = append(e.info.blocks, snapshotBlock{
		offset: e.offset, pairs: e.pairs, checksum: crc32.Checksum(e.block, castagnoli),
	})
	_, err := e.w.Write(e.block)
	e.offset += uint64(len(e.block))
	e.block, e.pairs = e.block[:0], 0
	return err
}

// loadedSnapshot is a snapshot file that was found whole.
type loadedSnapshot struct {
	*snapshotInfo
	table *table.Table
}

// loadSnapshot verifies a snapshot file, all of it, and builds its table, blocks in parallel.
func loadSnapshot(dir vfs.Dir, number uint64) (loaded loadedSnapshot, err error) {
	name := snapshotName(number)
	file, err := dir.OpenRead(name)
	if err != nil {
		return loadedSnapshot{}, fmt.Errorf("kvstore: open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r := &snapshotReader{file: file, name: name}
	if err := r.readInfo(); err != nil {
		return loadedSnapshot{}, err
	}
	if r.info.number != number {
		return loadedSnapshot{}, r.corrupt(r.trailerAt, fmt.Sprintf("is snapshot %d under another name", r.info.number))
	}
	return r.load()
}

// load verifies the pairs and builds their table.
func (r *snapshotReader) load() (loadedSnapshot, error) {
	t := table.New(int(min(r.info.count, math.MaxInt32)))
	t.Load(nil, r.info.timestamp)
	if err := r.loadBlocks(t); err != nil {
		t.Release()
		return loadedSnapshot{}, err
	}
	if uint64(t.Len()) != uint64(r.info.count) {
		t.Release()
		return loadedSnapshot{}, r.corrupt(snapshotHeaderBytes, "a key is there twice")
	}
	return loadedSnapshot{snapshotInfo: r.info, table: t}, nil
}

// snapshotReader reads and verifies one snapshot file.
type snapshotReader struct {
	file      vfs.File
	name      string
	info      *snapshotInfo
	trailerAt uint64 // the trailer's offset
}

func (r *snapshotReader) corrupt(offset uint64, reason string) error {
	return &CorruptError{File: r.name, Offset: int64(offset), Reason: reason}
}

// read reads exactly n bytes, which the caller knows to be in the file.
func (r *snapshotReader) read(offset, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r.file, int64(offset), int64(n)), b); err != nil {
		return nil, fmt.Errorf("kvstore: read %s: %w", r.name, err)
	}
	return b, nil
}

// readInfo reads and verifies footer, trailer and header, in this order: each tells where the next one is and how to read it.
func (r *snapshotReader) readInfo() error {
	size, err := r.file.Size()
	if err != nil {
		return fmt.Errorf("kvstore: size of %s: %w", r.name, err)
	}
	if size < snapshotHeaderBytes+snapshotFooterBytes {
		return r.corrupt(0, "too short for a snapshot")
	}
	footerAt := uint64(size) - snapshotFooterBytes
	b, err := r.read(footerAt, snapshotFooterBytes)
	if err != nil {
		return err
	}
	footer := decodeSnapshotFooter(b)
	if footer.trailerBytes > min(footerAt-snapshotHeaderBytes, maxSnapshotTrailerBytes) {
		return r.corrupt(footerAt, "no footer")
	}
	r.trailerAt = footerAt - footer.trailerBytes
	tail, err := r.read(r.trailerAt, footer.trailerBytes+snapshotFooterBytes)
	if err != nil {
		return err
	}
	if !entryIsSealed(tail, 0) {
		return r.corrupt(r.trailerAt, "trailer checksum mismatch")
	}
	switch {
	case footer.version < formatVersion:
		return r.corrupt(footerAt, "impossible version")
	case footer.version > formatVersion:
		return fmt.Errorf("%w: %s is of version %d, this package reads up to %d", ErrVersion, r.name, footer.version, formatVersion)
	}
	header, err := r.read(0, snapshotHeaderBytes)
	if err != nil {
		return err
	}
	var reason string
	if r.info, reason = decodeSnapshotTrailer(header, tail[:footer.trailerBytes], r.trailerAt); reason != "" {
		return r.corrupt(0, reason)
	}
	return nil
}

// loadBlocks verifies the blocks and puts their pairs into t. Of several errors it returns that of the first block.
func (r *snapshotReader) loadBlocks(t *table.Table) error {
	var workers errgroup.Group
	workers.SetLimit(runtime.GOMAXPROCS(0))
	errs := make([]error, len(r.info.blocks))
	for i := range r.info.blocks {
		workers.Go(func() error {
			errs[i] = r.loadBlock(t, i)
			return errs[i]
		})
	}
	if workers.Wait() == nil {
		return nil
	}
	return errs[slices.IndexFunc(errs, func(err error) bool { return err != nil })]
}

func (r *snapshotReader) loadBlock(t *table.Table, i int) error {
	block := r.info.blocks[i]
	b, err := r.read(block.offset, r.info.blockEnd(i, r.trailerAt)-block.offset)
	if err != nil {
		return err
	}
	if crc32.Checksum(b, castagnoli) != block.checksum {
		return r.corrupt(block.offset, "block checksum mismatch")
	}
	ops := make([]table.Op, 0, block.pairs)
	for len(b) > 0 {
		key, value, size, ok := decodePair(b)
		if !ok || len(ops) == int(block.pairs) || len(key) > MaxKeyBytes || len(value) > MaxValueBytes {
			return r.corrupt(block.offset, "block with impossible pairs")
		}
		ops = append(ops, table.Op{Key: key, Value: value})
		b = b[size:]
	}
	if len(ops) != int(block.pairs) {
		return r.corrupt(block.offset, "block with too few pairs")
	}
	t.Load(ops, r.info.timestamp)
	return nil
}
