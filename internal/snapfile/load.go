package snapfile

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// Load verifies all of the snapshot file with this number and builds its table,
// which the caller must release.
func Load(dir vfs.Dir, number uint64) (info *format.Snapshot, t *table.Table, err error) {
	name := format.SnapshotName(number)
	file, err := dir.OpenRead(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", name, err)
	}
	info, t, err = load(file, name, number)
	if err = errors.Join(err, file.Close()); err != nil && t != nil {
		t.Release()
		t = nil
	}
	return info, t, err
}

// load is Load of an open file.
func load(file vfs.File, name string, number uint64) (*format.Snapshot, *table.Table, error) {
	r, err := open(file, name)
	if err == nil {
		err = r.CheckNumber(number)
	}
	if err != nil {
		return nil, nil, err
	}
	t, err := loadTable(r)
	return r.Info, t, err
}

// open verifies all of a snapshot file but its pairs.
func open(file vfs.File, name string) (*format.SnapshotReader, error) {
	size, err := file.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	return format.ReadSnapshot(file, size, name)
}

// loadTable verifies the pairs and builds their table.
func loadTable(r *format.SnapshotReader) (*table.Table, error) {
	t := table.New(int(min(r.Info.Count, math.MaxInt32)))
	t.Load(nil, r.Info.Timestamp)
	err := loadBlocks(r, t)
	if err == nil {
		err = r.CheckKeys(t.Len())
	}
	if err != nil {
		t.Release()
		return nil, err
	}
	return t, nil
}

// loadBlocks verifies the blocks and puts their pairs into t, on all
// processors. Of several errors it returns that of the first block.
func loadBlocks(r *format.SnapshotReader, t *table.Table) error {
	var workers sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, len(r.Info.Blocks))
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			l := blockLoader{reader: r, table: t}
			for i := next.Add(1) - 1; i < int64(len(errs)); i = next.Add(1) - 1 {
				if errs[i] = l.load(int(i)); errs[i] != nil {
					return // the workers that have taken earlier blocks finish them
				}
			}
		})
	}
	workers.Wait()
	return cmp.Or(errs...)
}

// blockLoader puts blocks into a table, one after the other, in the same
// memory: the first touch of new memory may take as long as all the rest. It is
// for one goroutine.
type blockLoader struct {
	reader *format.SnapshotReader // immutable
	table  *table.Table           // immutable
	bytes  []byte                 // of the last block
	ops    []table.Op             // its pairs
}

func (l *blockLoader) load(i int) (err error) {
	l.ops = l.ops[:0]
	l.bytes, err = l.reader.ReadBlock(i, l.bytes, func(p format.Pair) {
		l.ops = append(l.ops, codec.PairOp(p))
	})
	if err == nil {
		l.table.Load(l.ops, l.reader.Info.Timestamp)
	}
	return err
}
