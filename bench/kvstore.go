package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kvstore"
)

func kvstoreSpec() spec {
	return spec{
		name: "kvstore", role: subject,
		durable:     "`SyncWrites: true`, the default of `Open`; batches are reused after Reset",
		relaxed:     "`SyncWrites: false`; the log is synced each second",
		countsSyncs: true, adds: true, expires: true,
		open: openKVStore,
	}
}

type kvstoreEngine struct {
	store   *kvstore.Store
	batches *sync.Pool // of *kvstore.Batch
}

func openKVStore(dir string, durable bool) (engine, error) {
	store, err := kvstore.OpenWithConfig(kvstore.Config{
		DataDir: dir, SyncWrites: durable, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return kvstoreEngine{store, &sync.Pool{New: func() any { return new(kvstore.Batch) }}}, nil
}

func (e kvstoreEngine) set(key string, value []byte) error { return e.store.Set(key, value) }

func (e kvstoreEngine) get(key string) ([]byte, error) {
	value, ok := e.store.Get(key)
	if !ok {
		return nil, errAbsent
	}
	return value, nil
}

func (e kvstoreEngine) appendGet(dst []byte, key string) ([]byte, error) {
	value, ok := e.store.AppendGet(dst, key)
	if !ok {
		return nil, errAbsent
	}
	return value, nil
}

func (e kvstoreEngine) multiGet(keys []string) ([][]byte, error) { return e.store.MultiGet(keys), nil }

func (e kvstoreEngine) batch(keys []string, values [][]byte) error {
	b := e.batches.Get().(*kvstore.Batch)
	defer e.batches.Put(b)
	b.Reset()
	for i, key := range keys {
		b.Set(key, values[i])
	}
	return e.store.Apply(context.Background(), b)
}

func (e kvstoreEngine) setFor(key string, value []byte, ttl time.Duration) error {
	return e.store.SetFor(key, value, ttl)
}

func (e kvstoreEngine) batchUntil(keys []string, values [][]byte, deadlines []time.Time) error {
	b := e.batches.Get().(*kvstore.Batch)
	defer e.batches.Put(b)
	b.Reset()
	for i, key := range keys {
		b.SetUntil(key, values[i], deadlines[i])
	}
	return e.store.Apply(context.Background(), b)
}

func (e kvstoreEngine) expire(key string, deadline time.Time) error {
	found, err := e.store.Expire(key, deadline)
	if err == nil && !found {
		return errAbsent
	}
	return err
}

func (e kvstoreEngine) undeleted() (int, error) { return e.store.Stats().Expiring, nil }

func (e kvstoreEngine) add(key string, delta int64) (int64, error) { return e.store.Add(key, delta) }

func (e kvstoreEngine) scan(within span, show func(key string, value []byte)) error {
	for key, value := range e.store.Scan(kvstore.Range{From: within.from, Prefix: within.prefix, Limit: within.limit}) {
		show(key, value)
	}
	return nil
}

func (e kvstoreEngine) transact(keys []string, next func(value []byte) []byte) (runs int, err error) {
	err = e.store.Update(context.Background(), func(tx *kvstore.Tx) error {
		runs++
		for _, key := range keys {
			value, ok := tx.Get(key)
			if !ok {
				return errAbsent
			}
			tx.Set(key, next(value))
		}
		return nil
	})
	return runs, err
}

func (e kvstoreEngine) snapshot() error { return e.store.Snapshot(context.Background()) }

func (e kvstoreEngine) syncs() uint64 { return e.store.Stats().Syncs }
func (e kvstoreEngine) close() error  { return e.store.Close() }
