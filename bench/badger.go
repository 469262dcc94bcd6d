package main

import (
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

func badgerSpec() spec {
	return spec{
		name: "badger", role: peer, module: "github.com/dgraph-io/badger/v4",
		durable: "`SyncWrites: true`; no compression, so that its memory-mapped files need no cache; " +
			"no conflict detection, except for transactions; no metrics",
		relaxed: "`SyncWrites: false`; else the same",
		expires: true,
		noSweep: "hides keys that are due; compactions drop them at some time",
		noTouch: "no call that changes only the deadline",
		open: func(dir string, durable bool) (engine, error) {
			return openBadger(dir, durable, false)
		},
		openTransactional: func(dir string, durable bool) (engine, error) {
			return openBadger(dir, durable, true)
		},
	}
}

type badgerEngine struct{ db *badger.DB }

func openBadger(dir string, durable, conflicts bool) (engine, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).
		WithSyncWrites(durable).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithDetectConflicts(conflicts).
		WithMetricsEnabled(false).
		WithLogger(nil))
	if err != nil {
		return nil, err
	}
	return badgerEngine{db}, nil
}

func (e badgerEngine) set(key string, value []byte) error {
	return e.db.Update(func(tx *badger.Txn) error { return tx.Set([]byte(key), value) })
}

func (e badgerEngine) get(key string) (value []byte, err error) {
	err = e.db.View(func(tx *badger.Txn) error {
		value, err = badgerGet(tx, key)
		return err
	})
	return value, err
}

func badgerGet(tx *badger.Txn, key string) ([]byte, error) {
	item, err := tx.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

func (e badgerEngine) multiGet(keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	err := e.db.View(func(tx *badger.Txn) error {
		for i, key := range keys {
			value, err := badgerGet(tx, key)
			if err != nil && !errors.Is(err, errAbsent) {
				return err
			}
			values[i] = value
		}
		return nil
	})
	return values, err
}

func (e badgerEngine) batch(keys []string, values [][]byte) error {
	return e.db.Update(func(tx *badger.Txn) error {
		for i, key := range keys {
			if err := tx.Set([]byte(key), values[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e badgerEngine) setFor(key string, value []byte, ttl time.Duration) error {
	return e.db.Update(func(tx *badger.Txn) error {
		return tx.SetEntry(badger.NewEntry([]byte(key), value).WithTTL(ttl))
	})
}

// batchUntil cuts deadlines down to seconds, like WithTTL.
func (e badgerEngine) batchUntil(keys []string, values [][]byte, deadlines []time.Time) error {
	return e.db.Update(func(tx *badger.Txn) error {
		for i, key := range keys {
			entry := badger.NewEntry([]byte(key), values[i])
			entry.ExpiresAt = uint64(deadlines[i].Unix())
			if err := tx.SetEntry(entry); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e badgerEngine) transact(keys []string, next func(value []byte) []byte) (runs int, err error) {
	for err = badger.ErrConflict; errors.Is(err, badger.ErrConflict); runs++ {
		err = e.db.Update(func(tx *badger.Txn) error {
			for _, key := range keys {
				value, err := badgerGet(tx, key)
				if err != nil {
					return err
				}
				if err := tx.Set([]byte(key), next(value)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return runs, err
}

func (e badgerEngine) scan(within span, show func(key string, value []byte)) error {
	return e.db.View(func(tx *badger.Txn) error {
		var own keeper
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte(within.prefix)
		if within.limit > 0 {
			o.PrefetchSize = min(o.PrefetchSize, within.limit)
		}
		it := tx.NewIterator(o)
		defer it.Close()
		pairs := 0
		for it.Seek([]byte(within.first())); it.Valid() && !within.full(pairs); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error {
				show(own.text(item.Key()), own.bytes(value))
				return nil
			})
			if err != nil {
				return err
			}
			pairs++
		}
		return nil
	})
}

func (e badgerEngine) close() error { return e.db.Close() }
