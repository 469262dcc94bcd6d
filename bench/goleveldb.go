package main

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"
)

func goleveldbSpec() spec {
	return spec{
		name: "goleveldb", role: peer, module: "github.com/syndtr/goleveldb",
		durable: "`WriteOptions.Sync: true`; block cache 1 GiB, write buffer 64 MiB, bloom filters of 10 bits; " +
			"batches are reused after Reset",
		relaxed:        "`WriteOptions.Sync: false`; otherwise the same",
		countsSyncs:    true,
		noTransactions: "no transactions of this kind: its own are for bulk loads, and each writes a table",
		open:           openGoLevelDB,
	}
}

type goleveldbEngine struct {
	db      *leveldb.DB
	files   *journalCounter
	write   *opt.WriteOptions
	batches *sync.Pool // of *leveldb.Batch
}

func openGoLevelDB(dir string, durable bool) (engine, error) {
	disk, err := storage.OpenFile(dir, false)
	if err != nil {
		return nil, err
	}
	files := &journalCounter{Storage: disk}
	db, err := leveldb.Open(files, &opt.Options{
		BlockCacheCapacity: 1 << 30,
		WriteBuffer:        64 << 20,
		Filter:             filter.NewBloomFilter(10),
	})
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	batches := &sync.Pool{New: func() any { return new(leveldb.Batch) }}
	return goleveldbEngine{db, files, &opt.WriteOptions{Sync: durable}, batches}, nil
}

func (e goleveldbEngine) set(key string, value []byte) error {
	return e.db.Put([]byte(key), value, e.write)
}

func (e goleveldbEngine) get(key string) ([]byte, error) {
	value, err := e.db.Get([]byte(key), nil) // a copy
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, errAbsent
	}
	return value, err
}

func (e goleveldbEngine) batch(keys []string, values [][]byte) error {
	b := e.batches.Get().(*leveldb.Batch)
	defer e.batches.Put(b)
	b.Reset()
	for i, key := range keys {
		b.Put([]byte(key), values[i])
	}
	return e.db.Write(b, e.write)
}

func (e goleveldbEngine) scan(within span, show func(key string, value []byte)) error {
	var own keeper
	bounds := util.BytesPrefix([]byte(within.prefix)) // without an end for the prefix ""
	bounds.Start = []byte(within.first())
	it := e.db.NewIterator(bounds, nil)
	defer it.Release()
	for pairs := 0; !within.full(pairs) && it.Next(); pairs++ {
		show(own.text(it.Key()), own.bytes(it.Value()))
	}
	return it.Error()
}

func (e goleveldbEngine) syncs() uint64 { return e.files.syncs.Load() }

// close closes the storage too: a DB closes only storage that it has opened
// itself.
func (e goleveldbEngine) close() error { return errors.Join(e.db.Close(), e.files.Close()) }

// journalCounter wraps a storage and counts the syncs of its journals.
type journalCounter struct {
	storage.Storage
	syncs atomic.Uint64
}

func (c *journalCounter) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := c.Storage.Create(fd)
	if err != nil || fd.Type != storage.TypeJournal {
		return w, err
	}
	return countedJournal{w, &c.syncs}, nil
}

type countedJournal struct {
	storage.Writer
	syncs *atomic.Uint64
}

func (j countedJournal) Sync() error {
	j.syncs.Add(1)
	return j.Writer.Sync()
}
