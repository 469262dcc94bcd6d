package main

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	dto "github.com/prometheus/client_model/go"
)

func pebbleSpec() spec {
	return spec{
		name: "pebble", role: peer, module: "github.com/cockroachdb/pebble/v2",
		durable:        "`pebble.Sync`; newest format, cache 1 GiB, memtable 64 MiB, bloom filters of 10 bits",
		relaxed:        "`pebble.NoSync`, which keeps a write in the process for a while; otherwise the same",
		staysInside:    true,
		noTransactions: "no transactions: its batches can read, but detect no conflicts",
		countsSyncs:    true,
		open:           openPebble,
	}
}

type pebbleEngine struct {
	db    *pebble.DB
	write *pebble.WriteOptions
}

// pebbleSilence drops pebble's messages about compactions.
type pebbleSilence struct{ pebble.Logger }

func (pebbleSilence) Infof(string, ...any) {}

func openPebble(dir string, durable bool) (engine, error) {
	options := &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest,
		CacheSize:          1 << 30,
		MemTableSize:       64 << 20,
		Logger:             pebbleSilence{pebble.DefaultLogger},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, options)
	if err != nil {
		return nil, err
	}
	write := pebble.NoSync
	if durable {
		write = pebble.Sync
	}
	return pebbleEngine{db, write}, nil
}

func (e pebbleEngine) set(key string, value []byte) error {
	return e.db.Set([]byte(key), value, e.write)
}

func (e pebbleEngine) get(key string) ([]byte, error) {
	shared, closer, err := e.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	value := append([]byte(nil), shared...)
	return value, closer.Close()
}

func (e pebbleEngine) batch(keys []string, values [][]byte) error {
	b := e.db.NewBatch()
	for i, key := range keys {
		if err := b.Set([]byte(key), values[i], nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return errors.Join(b.Commit(e.write), b.Close())
}

func (e pebbleEngine) scan(within span, show func(key string, value []byte)) error {
	var own keeper
	it, err := e.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte(within.first()), UpperBound: prefixEnd(within.prefix),
	})
	if err != nil {
		return err
	}
	pairs := 0
	for ok := it.First(); ok && !within.full(pairs); ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		show(own.text(it.Key()), own.bytes(value))
		pairs++
	}
	return it.Close()
}

// prefixEnd is the lowest key above all keys that begin with prefix. It is nil,
// which means no bound, if there is no such key.
func prefixEnd(prefix string) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return append([]byte(prefix[:i]), prefix[i]+1)
		}
	}
	return nil
}

func (e pebbleEngine) syncs() uint64 {
	var m dto.Metric
	if err := e.db.Metrics().LogWriter.FsyncLatency.Write(&m); err != nil {
		return 0
	}
	return m.GetHistogram().GetSampleCount()
}

func (e pebbleEngine) close() error { return e.db.Close() }
