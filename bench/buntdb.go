package main

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidwall/buntdb"
)

func buntdbSpec() spec {
	return spec{
		name: "buntdb", role: peer, module: "github.com/tidwall/buntdb",
		durable:     "`SyncPolicy: Always`; no automatic shrinking",
		relaxed:     "`SyncPolicy: EverySecond`, its default; otherwise the same",
		countsSyncs: true, expires: true,
		noTouch: "no call that changes only the deadline",
		open:    openBuntDB,
	}
}

type buntdbEngine struct {
	db      *buntdb.DB
	durable bool
	commits *atomic.Uint64
}

func openBuntDB(dir string, durable bool) (engine, error) {
	db, err := buntdb.Open(filepath.Join(dir, "data.bunt"))
	if err != nil {
		return nil, err
	}
	config := buntdb.Config{SyncPolicy: buntdb.EverySecond, AutoShrinkDisabled: true}
	if durable {
		config.SyncPolicy = buntdb.Always
	}
	if err := db.SetConfig(config); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return buntdbEngine{db, durable, new(atomic.Uint64)}, nil
}

func (e buntdbEngine) update(do func(tx *buntdb.Tx) error) error {
	err := e.db.Update(do)
	if e.durable && err == nil {
		e.commits.Add(1)
	}
	return err
}

func (e buntdbEngine) set(key string, value []byte) error {
	return e.update(func(tx *buntdb.Tx) error {
		_, _, err := tx.Set(key, string(value), nil)
		return err
	})
}

func (e buntdbEngine) get(key string) (value []byte, err error) {
	err = e.db.View(func(tx *buntdb.Tx) error {
		value, err = buntdbGet(tx, key)
		return err
	})
	return value, err
}

func buntdbGet(tx *buntdb.Tx, key string) ([]byte, error) {
	shared, err := tx.Get(key)
	if errors.Is(err, buntdb.ErrNotFound) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	return []byte(shared), nil
}

func (e buntdbEngine) multiGet(keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	err := e.db.View(func(tx *buntdb.Tx) error {
		for i, key := range keys {
			value, err := buntdbGet(tx, key)
			if err != nil && !errors.Is(err, errAbsent) {
				return err
			}
			values[i] = value
		}
		return nil
	})
	return values, err
}

func (e buntdbEngine) batch(keys []string, values [][]byte) error {
	return e.update(func(tx *buntdb.Tx) error {
		for i, key := range keys {
			if _, _, err := tx.Set(key, string(values[i]), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e buntdbEngine) transact(keys []string, next func(value []byte) []byte) (runs int, err error) {
	err = e.update(func(tx *buntdb.Tx) error {
		for _, key := range keys {
			value, err := buntdbGet(tx, key)
			if err != nil {
				return err
			}
			if _, _, err := tx.Set(key, string(next(value)), nil); err != nil {
				return err
			}
		}
		return nil
	})
	return 1, err
}

func (e buntdbEngine) setFor(key string, value []byte, ttl time.Duration) error {
	return e.update(func(tx *buntdb.Tx) error {
		_, _, err := tx.Set(key, string(value), &buntdb.SetOptions{Expires: true, TTL: ttl})
		return err
	})
}

func (e buntdbEngine) batchUntil(keys []string, values [][]byte, deadlines []time.Time) error {
	return e.update(func(tx *buntdb.Tx) error {
		for i, key := range keys {
			o := &buntdb.SetOptions{Expires: true, TTL: time.Until(deadlines[i])}
			if _, _, err := tx.Set(key, string(values[i]), o); err != nil {
				return err
			}
		}
		return nil
	})
}

// undeleted is the number of all keys: Len counts those, too, whose deadline
// has passed.
func (e buntdbEngine) undeleted() (n int, err error) {
	err = e.db.View(func(tx *buntdb.Tx) error {
		n, err = tx.Len()
		return err
	})
	return n, err
}

// scan copies no keys: they are strings, which any code may keep.
func (e buntdbEngine) scan(within span, show func(key string, value []byte)) error {
	return e.db.View(func(tx *buntdb.Tx) error {
		var own keeper
		pairs := 0
		return tx.AscendGreaterOrEqual("", within.first(), func(key, value string) bool {
			if !strings.HasPrefix(key, within.prefix) {
				return false
			}
			show(key, own.bytesOf(value))
			pairs++
			return !within.full(pairs)
		})
	})
}

// syncs is the number of commits: with SyncPolicy Always each commit syncs
// once.
func (e buntdbEngine) syncs() uint64 { return e.commits.Load() }

func (e buntdbEngine) close() error { return e.db.Close() }
