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
	"kvstore/internal/spare"
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
	keys := make([]table.SortedKeys, len(r.Info.Blocks))
	err := loadBlocks(r, t, keys)
	if err == nil {
		err = r.CheckKeys(t.Size())
	}
	if err == nil {
		t.UseSorted(keys)
	}
	if err != nil {
		t.Release()
		return nil, err
	}
	return t, nil
}

// Bounds on the memory that loading takes beside the table.
const (
	// maxLoaders is how many blocks are in memory at once.
	maxLoaders = 8

	// maxLoadBytes is the size of a block above which it is a large one: most
	// of it is one value. One large block is in memory at a time.
	maxLoadBytes = 2 << 20

	// maxLoadOps is how many pairs are collected before they are loaded.
	maxLoadOps = 8 << 10
)

// loadBlocks verifies the blocks and puts their pairs into t, on all
// processors, and the keys of each block into its element of keys. Of several
// errors it returns that of the first block.
func loadBlocks(r *format.SnapshotReader, t *table.Table, keys []table.SortedKeys) error {
	var workers sync.WaitGroup
	var next atomic.Int64
	var large largeBlock
	defer large.bytes.Release()
	errs := make([]error, len(r.Info.Blocks))
	for range min(runtime.GOMAXPROCS(0), maxLoaders) {
		workers.Go(func() {
			l := blockLoader{reader: r, table: t, keys: keys, large: &large}
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

// largeBlock is memory that all loaders share.
type largeBlock struct {
	mu    sync.Mutex
	bytes spare.Large // guarded by mu
}

// blockLoader puts blocks into a table, one after the other, in the same
// memory: the first touch of new memory may take as long as all the rest. It is
// for one goroutine.
type blockLoader struct {
	reader *format.SnapshotReader // immutable
	table  *table.Table           // immutable
	keys   []table.SortedKeys     // each is owned by the loader of its block
	large  *largeBlock            // shared
	bytes  []byte                 // of the last block that was not large
	ops    []table.Op             // its pairs
}

func (l *blockLoader) load(i int) (err error) {
	if size := l.reader.BlockEnd(i) - int64(l.reader.Info.Blocks[i].Offset); size > maxLoadBytes {
		l.large.mu.Lock()
		defer l.large.mu.Unlock()
		_, err = l.read(i, l.large.bytes.Bytes(int(size)))
		return err
	}
	l.bytes, err = l.read(i, l.bytes)
	return err
}

// read reads a block into buf and loads its pairs.
func (l *blockLoader) read(i int, buf []byte) ([]byte, error) {
	buf, err := l.reader.ReadBlock(i, buf, func(p format.Pair) {
		l.keys[i].Add(p.Key)
		if l.ops = append(l.ops, codec.PairOp(p)); len(l.ops) == maxLoadOps {
			l.apply()
		}
	})
	if err == nil {
		l.apply()
	}
	return buf, err
}

// apply puts the pairs so far into the table.
func (l *blockLoader) apply() {
	l.table.Load(l.ops, l.reader.Info.Timestamp)
	l.ops = l.ops[:0]
}
