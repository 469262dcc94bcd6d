package main

import (
	"bytes"
	"errors"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

func bboltSpec() spec {
	return spec{
		name: "bbolt", role: peer, module: "go.etcd.io/bbolt",
		durable: "`db.Batch`, which collects callers for up to 10 ms; freelist as a map, not synced",
		relaxed: "`NoSync: true`, `db.Update`; otherwise the same",
		open: func(dir string, durable bool) (engine, error) {
			return openBbolt(dir, durable, durable)
		},
	}
}

func bboltUpdateSpec() spec {
	return spec{
		name: "bbolt-update", role: lonePeer, module: "go.etcd.io/bbolt",
		durable: "`db.Update`, which is faster for a lone writer; otherwise as bbolt",
		relaxed: "as bbolt",
		open: func(dir string, durable bool) (engine, error) {
			return openBbolt(dir, durable, false)
		},
	}
}

var bboltBucket = []byte("bench")

type bboltEngine struct {
	db    *bolt.DB
	write func(func(*bolt.Tx) error) error // of single keys
}

func openBbolt(dir string, durable, gather bool) (engine, error) {
	db, err := bolt.Open(filepath.Join(dir, "data.bolt"), 0o600, &bolt.Options{
		NoSync: !durable, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bboltBucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	e := bboltEngine{db: db, write: db.Update}
	if gather {
		e.write = db.Batch
	}
	return e, nil
}

func (e bboltEngine) set(key string, value []byte) error {
	return e.write(func(tx *bolt.Tx) error { return tx.Bucket(bboltBucket).Put([]byte(key), value) })
}

func (e bboltEngine) get(key string) (value []byte, err error) {
	err = e.db.View(func(tx *bolt.Tx) error {
		value = bytes.Clone(tx.Bucket(bboltBucket).Get([]byte(key)))
		return nil
	})
	if err == nil && value == nil {
		err = errAbsent
	}
	return value, err
}

func (e bboltEngine) multiGet(keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	err := e.db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bboltBucket)
		for i, key := range keys {
			values[i] = bytes.Clone(bucket.Get([]byte(key)))
		}
		return nil
	})
	return values, err
}

func (e bboltEngine) batch(keys []string, values [][]byte) error {
	return e.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bboltBucket)
		for i, key := range keys {
			if err := bucket.Put([]byte(key), values[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// transact counts its runs, because bbolt runs a function again if another
// function of the same batch has failed.
func (e bboltEngine) transact(keys []string, next func(value []byte) []byte) (runs int, err error) {
	err = e.write(func(tx *bolt.Tx) error {
		runs++
		bucket := tx.Bucket(bboltBucket)
		for _, key := range keys {
			value := bucket.Get([]byte(key))
			if value == nil {
				return errAbsent
			}
			if err := bucket.Put([]byte(key), next(value)); err != nil {
				return err
			}
		}
		return nil
	})
	return runs, err
}

func (e bboltEngine) scan(within span, show func(key string, value []byte)) error {
	return e.db.View(func(tx *bolt.Tx) error {
		var own keeper
		prefix := []byte(within.prefix)
		cursor := tx.Bucket(bboltBucket).Cursor()
		pairs := 0
		key, value := cursor.Seek([]byte(within.first()))
		for key != nil && bytes.HasPrefix(key, prefix) {
			show(own.text(key), own.bytes(value))
			if pairs++; within.full(pairs) {
				break
			}
			key, value = cursor.Next()
		}
		return nil
	})
}

func (e bboltEngine) close() error {
	// Without the sync, an unsynced load would be written back during the next
	// measurement.
	return errors.Join(e.db.Sync(), e.db.Close())
}
