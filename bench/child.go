package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"time"
)

// This file has the measurements that need a separate process: memory, because
// nothing else may be counted, and a crash.

// childEnv holds the childJob of a child process.
const childEnv = "KVSTORE_BENCH_CHILD"

type task string

const (
	taskMemory task = "memory" // load, and report the cost of the memory
	taskCrash  task = "crash"  // load, and exit without close
	taskPart   task = "part"   // run a part of a workload
)

// childJob is a child's task. The child writes a childAnswer to its standard
// output.
type childJob struct {
	Task   task
	Engine string
	Dir    string
	Keys   int
	Batch  int
	Seed   uint64

	Volatile bool // for taskMemory: the keys have a deadline, in volatileFor

	// The rest is for taskPart.

	Workload, Part string
	Off            string // what must be switched off in the child's program
	Duration       time.Duration
	Scale          float64
	Filled         map[string]string
}

type childAnswer struct {
	GC       time.Duration
	Resident uint64 // bytes more than before the store was opened

	Samples []sample
	Filled  map[string]string // the job's, and what the child has loaded
}

// child runs the job in another process of this program.
func (b *bench) child(job childJob) (answer childAnswer, err error) {
	self, err := os.Executable()
	if err != nil {
		return answer, err
	}
	return b.childOf(self, job)
}

// childOf runs the job in a process of a program that was built from the same
// sources.
func (b *bench) childOf(program string, job childJob) (answer childAnswer, err error) {
	job.Seed = b.data.seed
	text, err := json.Marshal(job)
	if err != nil {
		return answer, err
	}
	cmd := exec.CommandContext(b.ctx, program)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return answer, fmt.Errorf("child: %w: %s", err, failure.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return answer, fmt.Errorf("child: %w", err)
	}
	return answer, nil
}

// runChild is main of a child.
func runChild(text string) int {
	var job childJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (job childJob) run() error {
	specs, _, err := chooseSpecs("")
	if err != nil {
		return err
	}
	for _, s := range specs {
		if s.name != job.Engine {
			continue
		}
		if job.Task == taskPart {
			answer, err := job.runPart(s)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(answer)
		}
		return job.runLoad(s)
	}
	return fmt.Errorf("no engine %q", job.Engine)
}

// runLoad is taskMemory or taskCrash.
func (job childJob) runLoad(s spec) error {
	resident := residentBytes
	before, err := resident()
	if err != nil && job.Task == taskMemory {
		return err
	}
	e, err := s.open(job.Dir, false)
	if err != nil {
		return err
	}
	if c, ok := e.(memoryCounter); ok {
		resident = c.allocated
		if before, err = resident(); err != nil {
			return errors.Join(err, e.close())
		}
	}
	if err := job.load(e); err != nil {
		return errors.Join(err, e.close())
	}
	if job.Task == taskCrash {
		return json.NewEncoder(os.Stdout).Encode(childAnswer{}) // without a close
	}
	answer, err := memoryCost(before, resident)
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(answer), e.close())
}

func (job childJob) load(e engine) error {
	d := newData(job.Seed)
	if job.Volatile {
		return d.loadUntil(e, keyRange{0, job.Keys}, valueBytes, inFuture(volatileFor))
	}
	return d.load(e, job.Keys, job.Batch, d.key)
}

// bench is the child's session, in the directory of the parent's session.
func (job childJob) bench() *bench {
	filled := job.Filled
	if filled == nil {
		filled = make(map[string]string)
	}
	return &bench{
		ctx: context.Background(), dir: job.Dir, duration: job.Duration, rounds: 1, scale: job.Scale,
		data: newData(job.Seed), progress: log.New(io.Discard, "", 0),
		filled: filled, streams: make(map[string]*stream),
	}
}

// memoryCost first frees the memory that only loading needed. Of several
// collections the fastest counts, because it was disturbed least.
func memoryCost(before uint64, resident func() (uint64, error)) (answer childAnswer, err error) {
	debug.FreeOSMemory()
	for i := range 5 {
		began := time.Now()
		runtime.GC()
		if took := time.Since(began); i == 0 || took < answer.GC {
			answer.GC = took
		}
	}
	debug.FreeOSMemory()
	after, err := resident()
	answer.Resident = after - min(after, before)
	return answer, err
}

const (
	memoryKeys     = 5_000_000
	caseGC         = "full GC"
	caseResident   = "RSS beyond the payload"
	memoryOverhead = 56 // the target, in bytes a key
)

func memoryWorkload() workload {
	return workload{
		id: "F7", title: "Memory with 5 M keys", joins: roles(subject, memoryFloor),
		note: "Each engine runs in a separate process. After loading: the fastest of five full collections, " +
			"and the growth of VmRSS minus the bytes of keys and values.",
		parts: []part{{"memory", runMemory}},
	}
}

func runMemory(b *bench, s spec) ([]sample, error) {
	perKey, answer, err := b.memory(childJob{Engine: s.name, Keys: b.keys(memoryKeys)})
	if err != nil {
		return nil, err
	}
	return []sample{
		{Case: caseGC, Unit: unitMilli, Value: millis(answer.GC)},
		{Case: caseResident, Unit: unitBytes, Value: perKey - (keyBytes + valueBytes)},
	}, nil
}

// memory returns the growth of resident memory in bytes a key, keys and values
// included.
func (b *bench) memory(job childJob) (perKey float64, answer childAnswer, err error) {
	err = b.inFreshDir(func(dir string) error {
		job.Task, job.Dir, job.Batch = taskMemory, dir, loadBatch
		answer, err = b.child(job)
		return err
	})
	return float64(answer.Resident) / float64(job.Keys), answer, err
}

func millis(d time.Duration) float64 { return micros(d) / 1e3 }
