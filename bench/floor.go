package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
)

const (
	floorBlock = 4096     // the smallest write of a disk
	floorPiece = 64 << 10 // bytes of zeros that are written at once

	// floorSpace is about what most runs write in a second. Then the floor
	// starts over; overwriting data takes longer than overwriting zeros.
	floorSpace = 256 << 20

	floorEntry = 21 // bytes of a log entry besides key and value
)

func diskFloorSpec() spec {
	return spec{
		name: "disk floor", role: diskFloor, volatile: true,
		durable: "one goroutine: pwrite into space that was written and fsynced before, then fdatasync. " +
			"It writes 4 KiB or, beside many writers and beside batches, the bytes of all of them at once, " +
			"which is the best that they can do together",
		relaxed: "–",
		open:    openDiskFloor,
	}
}

// diskFloorEngine writes a block for each set. For a batch it writes as many
// bytes as the batch would have in a log. It is for one goroutine.
type diskFloorEngine struct {
	file  *os.File
	block []byte
	at    int64
	count uint64
}

func openDiskFloor(dir string, _ bool) (engine, error) {
	file, err := os.OpenFile(filepath.Join(dir, "floor"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// The pieces are small, because the page cache keeps the pages of one large
	// write together, and a sync of some of them then looks at all of them.
	zeros := make([]byte, floorPiece)
	for at := int64(0); at < floorSpace && err == nil; at += floorPiece {
		_, err = file.WriteAt(zeros, at)
	}
	if err := errors.Join(err, file.Sync()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &diskFloorEngine{file: file, block: make([]byte, floorBlock)}, nil
}

func (e *diskFloorEngine) set(key string, value []byte) error {
	copy(e.block[copy(e.block, key):], value)
	return e.overwrite(e.block[:floorBlock])
}

func (e *diskFloorEngine) batch(keys []string, values [][]byte) error {
	size := 0
	for i, key := range keys {
		size += floorEntry + len(key) + len(values[i])
	}
	if size > len(e.block) {
		e.block = make([]byte, size)
	}
	copy(e.block[copy(e.block, keys[0]):], values[0])
	return e.overwrite(e.block[:size])
}

// overwrite writes b over existing data and syncs it.
func (e *diskFloorEngine) overwrite(b []byte) error {
	if e.at+int64(len(b)) > floorSpace {
		e.at = 0
	}
	if _, err := e.file.WriteAt(b, e.at); err != nil {
		return err
	}
	e.at += int64(len(b))
	e.count++
	return datasync(e.file)
}

func (*diskFloorEngine) get(string) ([]byte, error) { return nil, errUnsupported }
func (e *diskFloorEngine) syncs() uint64            { return e.count }
func (e *diskFloorEngine) close() error             { return e.file.Close() }

func mapFloorSpec() spec {
	return spec{
		name: "map floor", role: memoryFloor, volatile: true,
		durable: "–",
		relaxed: "RWMutex around `map[string][]byte`, copies in and out; nothing on disk",
		open: func(string, bool) (engine, error) {
			return &mapFloorEngine{values: make(map[string][]byte)}, nil
		},
	}
}

type mapFloorEngine struct {
	mu     sync.RWMutex
	values map[string][]byte // guarded by mu
}

func (e *mapFloorEngine) set(key string, value []byte) error {
	value = bytes.Clone(value)
	e.mu.Lock()
	e.values[key] = value
	e.mu.Unlock()
	return nil
}

func (e *mapFloorEngine) get(key string) ([]byte, error) {
	e.mu.RLock()
	value, ok := e.values[key]
	e.mu.RUnlock()
	if !ok {
		return nil, errAbsent
	}
	return append([]byte(nil), value...), nil // a value is replaced, never changed
}

func (e *mapFloorEngine) batch(keys []string, values [][]byte) error {
	for i, key := range keys {
		if err := e.set(key, values[i]); err != nil {
			return err
		}
	}
	return nil
}

func (*mapFloorEngine) close() error { return nil }
