package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisStartTimeout allows a server to load a log of some million keys.
const redisStartTimeout = 2 * time.Minute

// redisPool is the largest number of connections of a workload: one for each
// goroutine.
const redisPool = 1100

func redisSpec() spec {
	return spec{
		name: "redis", role: peer, module: "github.com/redis/go-redis/v9",
		durable: "a server behind a unix socket; `appendonly yes`, `appendfsync always`, `save \"\"`, " +
			"no rewriting of the log",
		relaxed:      "`appendfsync everysec`; otherwise the same",
		otherProcess: true, adds: true, expires: true,
		noScans: "no ordered scans",
		present: func() error {
			_, err := exec.LookPath("redis-server")
			return err
		},
		open: openRedis,
	}
}

type redisEngine struct {
	client *redis.Client
	exited <-chan error // receives the server's exit status, once
	socket string       // directory of the socket
}

// openRedis starts a server and waits until it has loaded its data. The socket
// has its own directory, because the path of a socket must be short.
func openRedis(dir string, durable bool) (engine, error) {
	sockets, err := os.MkdirTemp("", "kvredis")
	if err != nil {
		return nil, err
	}
	fsync := "everysec"
	if durable {
		fsync = "always"
	}
	socket := filepath.Join(sockets, "s")
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket,
		"--dir", dir, "--logfile", filepath.Join(dir, "redis.log"),
		"--appendonly", "yes", "--appendfsync", fsync, "--save", "", "--auto-aof-rewrite-percentage", "0",
		"--maxclients", fmt.Sprint(redisPool+100))
	if err := server.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(sockets))
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()
	e := redisEngine{
		client: redis.NewClient(&redis.Options{
			Network: "unix", Addr: socket, PoolSize: redisPool, MaxRetries: -1,
			ReadTimeout: redisStartTimeout, WriteTimeout: redisStartTimeout,
		}),
		exited: exited, socket: sockets,
	}
	if err := e.awaitStart(); err != nil {
		return nil, errors.Join(err, server.Process.Kill(), e.client.Close(), os.RemoveAll(sockets))
	}
	return e, nil
}

func (e redisEngine) awaitStart() error {
	deadline := time.Now().Add(redisStartTimeout)
	for {
		err := e.client.Ping(context.Background()).Err()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redis-server does not answer: %w", err)
		}
		select {
		case err := <-e.exited:
			return fmt.Errorf("redis-server has ended: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// prepareCrowd fills the pool by taking a connection for every goroutine before
// it gives any back.
func (e redisEngine) prepareCrowd(goroutines int) (err error) {
	taken := make([]*redis.Conn, goroutines)
	for i := range taken {
		taken[i] = e.client.Conn()
		err = errors.Join(err, taken[i].Ping(context.Background()).Err())
	}
	for _, conn := range taken {
		err = errors.Join(err, conn.Close())
	}
	return err
}

func (e redisEngine) set(key string, value []byte) error {
	return e.client.Set(context.Background(), key, value, 0).Err()
}

func (e redisEngine) get(key string) ([]byte, error) {
	value, err := e.client.Get(context.Background(), key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, errAbsent
	}
	return value, err
}

func (e redisEngine) multiGet(keys []string) ([][]byte, error) {
	answers, err := e.client.MGet(context.Background(), keys...).Result()
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	for i, answer := range answers {
		if text, ok := answer.(string); ok {
			values[i] = []byte(text)
		}
	}
	return values, nil
}

// transact is WATCH, the reads, MULTI and EXEC. EXEC does nothing if a key was
// changed after WATCH.
func (e redisEngine) transact(keys []string, next func(value []byte) []byte) (runs int, err error) {
	ctx := context.Background()
	for err = redis.TxFailedErr; errors.Is(err, redis.TxFailedErr); runs++ {
		err = e.client.Watch(ctx, func(tx *redis.Tx) error {
			answers, err := tx.MGet(ctx, keys...).Result()
			if err != nil {
				return err
			}
			_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
				for i, key := range keys {
					value, ok := answers[i].(string)
					if !ok {
						return errAbsent
					}
					p.Set(ctx, key, next([]byte(value)), 0)
				}
				return nil
			})
			return err
		}, keys...)
	}
	return runs, err
}

func (e redisEngine) batch(keys []string, values [][]byte) error {
	pairs := make([]any, 0, 2*len(keys))
	for i, key := range keys {
		pairs = append(pairs, key, values[i])
	}
	return e.client.MSet(context.Background(), pairs...).Err()
}

func (e redisEngine) setFor(key string, value []byte, ttl time.Duration) error {
	return e.client.Do(context.Background(), "set", key, value, "px", ttl.Milliseconds()).Err()
}

// batchUntil sends its commands together. Unlike batch it is no transaction,
// because MSET takes no deadlines.
func (e redisEngine) batchUntil(keys []string, values [][]byte, deadlines []time.Time) error {
	ctx := context.Background()
	_, err := e.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			p.Do(ctx, "set", key, values[i], "pxat", deadlines[i].UnixMilli())
		}
		return nil
	})
	return err
}

func (e redisEngine) expire(key string, deadline time.Time) error {
	found, err := e.client.PExpireAt(context.Background(), key, deadline).Result()
	if err == nil && !found {
		return errAbsent
	}
	return err
}

// undeleted is the number of keys with a deadline.
func (e redisEngine) undeleted() (int, error) {
	return e.info("keyspace", "expires=")
}

// allocated is not the resident memory, because the server looks at that only
// ten times a second.
func (e redisEngine) allocated() (uint64, error) {
	bytes, err := e.info("memory", "used_memory:")
	return uint64(bytes), err
}

// info returns the number after name in a section of the server's INFO, 0 if
// the section does not have the name.
func (e redisEngine) info(section, name string) (int, error) {
	text, err := e.client.Info(context.Background(), section).Result()
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(text, name)
	if !found {
		return 0, nil
	}
	end := strings.IndexAny(rest, ",\r\n")
	return strconv.Atoi(rest[:max(end, 0)])
}

func (e redisEngine) add(key string, delta int64) (int64, error) {
	return e.client.IncrBy(context.Background(), key, delta).Result()
}

// close lets the server write its log to disk. The server answers a shutdown by
// closing the connection, which the client counts as success.
func (e redisEngine) close() error {
	shutdown := e.client.Shutdown(context.Background()).Err()
	var ended error
	select {
	case ended = <-e.exited:
	case <-time.After(redisStartTimeout):
		ended = errors.New("redis-server does not end")
	}
	return errors.Join(shutdown, ended, e.client.Close(), os.RemoveAll(e.socket))
}
