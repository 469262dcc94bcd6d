package kvstore

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"kvstore/internal/format"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// writeSnapshot makes a durable snapshot file of pairs, of which there must be info.Count, by a writer to the new file. On error there is no
// such file, or, if only the last fsync failed, a whole one.
func writeSnapshot(dir vfs.Dir, info *format.Snapshot, pairs iter.Seq2[string, []byte], writer func(vfs.File) io.Writer) error {
	name := format.SnapshotName(info.Number)
	err := writeFile(dir, name, func(file vfs.File) error {
		_, err := format.EncodeSnapshot(writer(file), info, pairs)
		return err
	})
	if err != nil {
		return fmt.Errorf("kvstore: write %s: %w", name, err)
	}
	return syncDir(dir)
}

// loadedSnapshot is a snapshot file that was found whole.
type loadedSnapshot struct {
	*format.Snapshot
	table *table.Table
}

// loadSnapshot verifies a snapshot file, all of it, and builds its table.
func loadSnapshot(dir vfs.Dir, number uint64) (loaded loadedSnapshot, err error) {
	name := format.SnapshotName(number)
	file, err := dir.OpenRead(name)
	if err != nil {
		return loadedSnapshot{}, fmt.Errorf("kvstore: open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := readSnapshot(file, name)
	if err != nil {
		return loadedSnapshot{}, err
	}
	if err := r.CheckNumber(number); err != nil {
		return loadedSnapshot{}, formatError(err)
	}
	t, err := loadPairs(r)
	return loadedSnapshot{Snapshot: r.Info, table: t}, err
}

// readSnapshot verifies all of a snapshot file but its pairs.
func readSnapshot(file vfs.File, name string) (*format.SnapshotReader, error) {
	size, err := file.Size()
	if err != nil {
		return nil, fmt.Errorf("kvstore: size of %s: %w", name, err)
	}
	r, err := format.ReadSnapshot(file, size, name)
	return r, formatError(err)
}

// loadPairs verifies the pairs and builds their table, blocks in parallel.
func loadPairs(r *format.SnapshotReader) (*table.Table, error) {
	t := table.New(int(min(r.Info.Count, math.MaxInt32)))
	t.Load(nil, r.Info.Timestamp)
	err := loadBlocks(r, t)
	if err == nil {
		err = r.CheckKeys(t.Len())
	}
	if err != nil {
		t.Release()
		return nil, formatError(err)
	}
	return t, nil
}

// loadBlocks verifies the blocks and puts their pairs into t, one block to a processor at a time. Of several errors it returns that of the
// first block.
func loadBlocks(r *format.SnapshotReader, t *table.Table) error {
	var workers sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, len(r.Info.Blocks))
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			l := blockLoader{reader: r, table: t}
			for i := next.Add(1) - 1; i < int64(len(errs)); i = next.Add(1) - 1 {
				if errs[i] = l.load(int(i)); errs[i] != nil {
					return // whoever has taken a block before this one ends it
				}
			}
		})
	}
	workers.Wait()
	return cmp.Or(errs...)
}

// blockLoader puts blocks into a table, one after the other, in the same memory: the first touch of new memory may take as long as all the
// rest. It is for one goroutine.
type blockLoader struct {
	reader *format.SnapshotReader // immutable
	table  *table.Table           // immutable
	bytes  []byte                 // of the last block
	ops    []table.Op             // its pairs
}

func (l *blockLoader) load(i int) (err error) {
	l.ops = l.ops[:0]
	l.bytes, err = l.reader.ReadBlock(i, l.bytes, func(key, value []byte) {
		l.ops = append(l.ops, table.Op{Key: key, Value: value})
	})
	if err == nil {
		l.table.Load(l.ops, l.reader.Info.Timestamp)
	}
	return err
}
