package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
		otherProcess: true,
		noScans:      "no ordered scans",
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
