package main

import "time"

// The layers that the mutations name. Where one test is enough, it is the one that was written for the promise.

// explorer kills each mutation that names it within a tenth of these states, or it would be the wrong layer for it.
func explorer() layer {
	return layer{name: "L1 crash explorer", tests: "TestExploreCrashes", env: "KVSTORE_STATES=40000"}
}

func promise(tests string) layer   { return layer{name: "L1 crash tests", tests: tests} }
func faults(tests string) layer    { return layer{name: "L2 error tests", tests: tests} }
func bytesOf(tests string) layer   { return layer{name: "L4 bytes on disk", tests: tests} }
func behaviour(tests string) layer { return layer{name: "L0 behaviour", tests: tests} }
func actor(tests string) layer     { return layer{name: "L9 synctest", tests: tests} }
func raced(tests string) layer     { return layer{name: "L0 race detector", tests: tests, race: true} }

func formatTest(tests string) layer {
	return layer{name: "L4 bytes on disk", pkg: "internal/format", tests: tests}
}

func tableTest(tests string) layer {
	return layer{name: "L0 table", pkg: "internal/table", tests: tests}
}

func tableRace(tests string) layer {
	return layer{name: "L0 race detector", pkg: "internal/table", tests: tests, race: true}
}

func mailboxTest(tests string) layer {
	return layer{name: "L0 mailbox", pkg: "internal/mailbox", tests: tests}
}

func regroupTest(tests string) layer {
	return layer{name: "L9 synctest", pkg: "internal/regroup", tests: tests}
}

func vfsTest(tests string) layer {
	return layer{name: "L0 file systems", pkg: "internal/vfs", tests: tests}
}

// hanging is a layer whose test hangs with the mutation: there is no need to wait as long as usual.
func hanging(l layer) layer {
	l.timeout = 15 * time.Second
	return l
}

// mutations returns all planted faults.
func mutations() []mutation {
	var all []mutation
	for _, part := range [][]mutation{
		durabilityOfWrites(), durabilityOfFiles(), rotations(), recoveries(), replays(), judgements(), lengths(), failures(), actors(), tellings(), mailboxes(), beginnings(),
		memory(), slots(), records(), views(), indexes(), trees(), scans(), transactions(), checkpoints(), restores(), conditions(), limits(),
	} {
		all = append(all, part...)
	}
	return all
}

// durabilityOfWrites is about the way of a group.
func durabilityOfWrites() []mutation {
	return []mutation{
		{
			name: "a group is acknowledged and never fsynced", file: "walwriter.go", promise: "P1",
			old:   "\tif w.syncWrites {\n\t\tw.status.syncs.Add(1)\n",
			new:   "\tif false {\n\t\tw.status.syncs.Add(1)\n",
			layer: explorer(),
		},
		{
			name: "a group is acknowledged while its fsync is under way", file: "walwriter.go", promise: "P1",
			old:   "\t\terr = w.sync()\n\t\tw.regroup",
			new:   "\t\tw.durable = w.written\n\t\tw.spawn(w.segment.file.Sync)\n\t\tw.regroup",
			layer: promise("TestP3EveryOperationHangs"),
		},
		{
			name: "a group is visible before its fsync", file: "walwriter.go", promise: "P3",
			old:   "\t\tw.status.syncs.Add(1)\n",
			new:   "\t\tw.status.syncs.Add(1)\n\t\tw.stage()\n\t\tw.table.Publish()\n",
			layer: promise("TestP3EveryOperationHangs"),
		},
		{
			name: "a group is visible before its pwrite", file: "walwriter.go", promise: "P3",
			old:   "\terr := w.segment.append(buf)\n",
			new:   "\tw.stage()\n\tw.table.Publish()\n\terr := w.segment.append(buf)\n",
			layer: promise("TestP3EveryOperationHangs"),
		},
		{
			name: "callers are answered before readers can see what they wrote", file: "walwriter.go", promise: "P3",
			old:   "\tif err == nil && len(w.writes) > 0 {\n\t\tw.apply()\n\t}\n\tw.answer(err)",
			new:   "\tfor i, op := range w.ops {\n\t\tw.ops[i].Key, w.ops[i].Value = slices.Clone(op.Key), slices.Clone(op.Value)\n\t}\n\twrites := slices.Clone(w.writes)\n\tw.answer(err)\n\tw.writes = append(w.writes[:0], writes...)\n\tif err == nil && len(w.writes) > 0 {\n\t\tw.apply()\n\t}",
			layer: behaviour("TestP3AnsweredIsVisible"),
		},
		{
			name: "with SyncWrites false a group stays in the process's memory", file: "walwriter.go", promise: "P1",
			old:   "\terr := w.append(size, ops >= asideOps)\n",
			new:   "\tvar err error\n\tif w.syncWrites {\n\t\terr = w.append(size, ops >= asideOps)\n\t}\n",
			layer: layer{name: "L5 SIGKILL", tests: "TestKillLosesNoAcknowledgedWrite"},
		},
		{
			name: "a group is written a byte short", file: "segment.go", promise: "P1",
			old:   "s.file.WriteAt(b, s.offset)",
			new:   "s.file.WriteAt(b[:max(len(b)-1, format.SegmentEntryBytes)], s.offset)",
			layer: layer{name: "L0 model", tests: "TestStoreAgreesWithAMap"},
		},
		{
			name: "Sync answers without an fsync", file: "walwriter.go", promise: "P1",
			old:   "\tif w.failure != nil || w.durable == w.written {\n\t\treturn w.failure\n\t}\n\treturn w.sync()",
			new:   "\treturn w.failure",
			layer: promise("TestP1WithoutSyncWrites"),
		},
		{
			name: "a background fsync counts for what was written while it ran", file: "flush.go", promise: "P1",
			old:   "\t\tw.durable = max(w.durable, w.flush.group)",
			new:   "\t\tw.durable = w.written",
			layer: actor("TestP5BackgroundSyncFailsUnderSync"),
		},
		{
			name: "the background fsync never begins", file: "flush.go", promise: "P1",
			old:   "\tif w.failure != nil || w.flush != nil || w.durable == w.written {",
			new:   "\tif w.failure != nil || w.flush != nil || w.durable <= w.written {",
			layer: actor("TestP1SyncInterval"),
		},
		{
			name: "a COMMIT vouches for groups that are written and not synced", file: "walwriter.go", promise: "P6",
			old:   "w.written+1, w.durable, w.segment.seed())",
			new:   "w.written+1, w.written, w.segment.seed())",
			layer: explorer(),
		},
		{
			name: "an END vouches for groups that are written and not synced", file: "rotation.go", promise: "P6",
			old:   "format.End{Group: w.written, Durable: w.durable}",
			new:   "format.End{Group: w.written, Durable: w.written}",
			layer: explorer(),
		},
		{
			name: "the next segment has its name before the END of the one before is synced", file: "rotation.go", promise: "P6",
			old:   "\tif err := w.end(); err != nil {\n\t\treturn err\n\t}\n\treturn w.rotate()\n",
			new:   "\tnext := w.rotation.ahead.segment\n\terr := next.publish(w.dir)\n\tif err == nil {\n\t\terr = w.end()\n\t}\n\tif err == nil {\n\t\terr = w.dir.Rename(next.name, next.name+format.TmpSuffix)\n\t}\n\tif err != nil {\n\t\treturn w.fail(err)\n\t}\n\treturn w.rotate()\n",
			layer: explorer(),
		},
		{
			name: "all commits of a group have one version", file: "walwriter.go", promise: "P13",
			old:   "format.SetTimestamps(buf[at:], version)",
			new:   "format.SetTimestamps(buf[at:], w.version)",
			layer: behaviour("TestP13VersionsRise"),
		},
		{
			name: "versions go back with the clock", file: "walwriter.go", promise: "P13",
			old:   "first := max(w.now().UnixNano(), w.version+1)",
			new:   "first := w.now().UnixNano()",
			layer: behaviour("TestP13VersionsRise"),
		},
		{
			name: "versions go back with the clock when the store is opened again", file: "engine.go", promise: "P13",
			old:   "version: r.table.Version(), snapshotted",
			new:   "snapshotted",
			layer: behaviour("TestP13VersionsRise"),
		},
		{
			name: "a large group is visible while its fsync is under way", file: "walwriter.go", promise: "P3",
			old:   "\t\t<-staged\n",
			new:   "\t\t<-staged\n\t\tw.table.Publish()\n",
			layer: actor("TestP3LargeBatchIsSeenWhenDurable"),
		},
		{
			name: "a large group is visible though its fsync has failed", file: "walwriter.go", promise: "P3",
			old:   "\t\tw.regroup.Synced = time.Since(started)\n\t}\n",
			new:   "\t\tw.regroup.Synced = time.Since(started)\n\t}\n\tw.apply()\n",
			layer: actor("TestP3LargeBatchIsSeenWhenDurable"),
		},
		{
			name: "a large group is shown before it is staged", file: "walwriter.go", promise: "P3",
			old:   "\t\t<-staged\n",
			new:   "",
			layer: raced("TestP3LargeBatchIsSeenWhenDurable"),
		},
		{
			name: "a background fsync begins though nothing was written", file: "flush.go", promise: "P5",
			old:   " || w.flush != nil || w.durable == w.written {",
			new:   " || w.flush != nil {",
			layer: actor("TestP1SyncInterval"),
		},
		{
			name: "the background fsync of a busy store waits for its time", file: "flush.go", promise: "P1",
			old:   "w.unflushed < flushBytes",
			new:   "w.unflushed > 0",
			layer: actor("TestP1MuchIsSyncedEarly"),
		},
	}
}

// durabilityOfFiles is about names, and about what replaces what.
func durabilityOfFiles() []mutation {
	return []mutation{
		{
			name: "a segment's name is not synced before groups go into it", file: "segment.go", promise: "P1",
			old:   "\treturn syncDir(dir)",
			new:   "\treturn nil",
			layer: explorer(),
		},
		{
			name: "a segment has its name before its header and space are synced", file: "segment.go", promise: "P6",
			old:   "\tif err == nil {\n\t\terr = vfs.SyncAside(file)\n\t}\n",
			new:   "",
			layer: explorer(),
		},
		{
			name: "a snapshot has its name before it is synced", file: "directory.go", promise: "P1",
			old:   "\tif err == nil {\n\t\terr = vfs.SyncAside(file)\n\t}\n",
			new:   "\tif err == nil && name[0] != 's' {\n\t\terr = vfs.SyncAside(file)\n\t}\n",
			layer: explorer(),
		},
		{
			name: "a snapshot's name is not synced before the log that it covers goes", file: "snapshot.go", promise: "P1",
			old:   "\treturn syncDir(dir)",
			new:   "\treturn nil",
			layer: explorer(),
		},
		{
			name: "the log is removed before the snapshot is written", file: "walwriter.go", promise: "P1",
			old: "\tif err := w.snapshot(number); err != nil {\n\t\treturn err\n\t}\n\tfiles, err := list(w.dir)\n" +
				"\tif err != nil {\n\t\treturn err\n\t}\n\treturn removeAll(w.dir, append(files.Below(number), covered...))",
			new: "\tfiles, err := list(w.dir)\n\tif err != nil {\n\t\treturn err\n\t}\n" +
				"\tif err := removeAll(w.dir, append(files.Below(number), covered...)); err != nil {\n\t\treturn err\n\t}\n" +
				"\treturn w.snapshot(number)",
			layer: explorer(),
		},
		{
			name: "the parent is not synced when the data directory was there already", file: "engine.go", promise: "P3",
			old:   "\tif r.fresh {",
			new:   "\tif false {",
			layer: explorer(),
		},
		{
			name: "the directories above the data directory are not synced", file: "internal/vfs/makedir.go", promise: "P3",
			old:   "\tif err := SyncName(fsys, parent); err != nil {\n\t\treturn err\n\t}\n\tif err := fsys.Mkdir(path)",
			new:   "\tif err := fsys.Mkdir(path)",
			layer: explorer(),
		},
		{
			name: "a directory that Open has made may be one that it cannot sync", file: "internal/vfs/makedir.go", promise: "P3",
			old:   "\treturn fsys.SyncParent(path)\n",
			new:   "\treturn nil\n",
			layer: promise("TestP3NameOfNewDirectoryCannotBeSynced"),
		},
		{
			name: "Close ends a session without END in the segment that its snapshot covers", file: "walwriter.go", promise: "P6",
			old:   "\t\tif err := w.end(); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tnumber++",
			new:   "\t\tnumber++",
			layer: promise("TestP10CloseWithoutSnapshotSyncsTheLog"),
		},
	}
}

// rotations is about the next segment, which is made ahead of its time.
func rotations() []mutation {
	return []mutation{
		{
			name: "the next segment has its name before the END that rides with a group is synced", file: "walwriter.go", promise: "P6",
			old:   "\tw.rotation.ended = ends\n",
			new:   "\tw.rotation.ended = ends\n\tif ends {\n\t\tnext := w.rotation.ahead.segment\n\t\tif err := next.publish(w.dir); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif err := w.dir.Rename(next.name, next.name+format.TmpSuffix); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n",
			layer: explorer(),
		},
		{
			name: "with SyncWrites false END rides with a group, and nobody syncs it", file: "rotation.go", promise: "P6",
			old:   "\tif w.durable != w.written { // END was",
			new:   "\tif false { // END was",
			layer: promise("TestP6OrderOfRotations"),
		},
		{
			name: "an END vouches for the group that it rides with", file: "walwriter.go", promise: "P6",
			old:   "end := format.End{Group: w.written + 1, Durable: w.durable}",
			new:   "end := format.End{Group: w.written + 1, Durable: w.written + 1}",
			layer: explorer(),
		},
		{
			name: "END rides with a group though the next segment is not there", file: "rotation.go", promise: "P5",
			old:   " && w.rotation.ahead.ready()",
			new:   "",
			layer: faults("TestP5NextSegmentFailsAheadOfTime"),
		},
		{
			name: "END rides with a group though the next segment could not be made", file: "rotation.go", promise: "P5",
			old:   "\t\treturn a.err == nil\n",
			new:   "\t\treturn true\n",
			layer: faults("TestP5NextSegmentFailsAheadOfTime"),
		},
		{
			name: "a next segment that could not be made is used", file: "rotation.go", promise: "P5",
			old:   "r.ahead.err == nil && r.ahead.segment.size >= need",
			new:   "r.ahead.err != nil || r.ahead.segment.size >= need",
			layer: faults("TestP5NextSegmentFailsAheadOfTime"),
		},
		{
			name: "a next segment that could not be made is not tried again", file: "rotation.go", promise: "P5",
			old:   "\tif r.ahead != nil {\n",
			new:   "\tif r.ahead != nil {\n\t\tif <-r.ahead.done; r.ahead.err != nil {\n\t\t\treturn r.ahead.err\n\t\t}\n",
			layer: faults("TestP5NextSegmentFailsAheadOfTime"),
		},
		{
			name: "Close fails because the next segment could not be made", file: "rotation.go", promise: "P5",
			old:   "\t\ta.segment, a.err = makeSegment(dir, plan)\n\t\treturn nil\n",
			new:   "\t\ta.segment, a.err = makeSegment(dir, plan)\n\t\treturn a.err\n",
			layer: faults("TestP5NextSegmentFailsAheadOfTime"),
		},
		{
			name: "a group goes into a next segment that is too small for it", file: "rotation.go", promise: "P5",
			old:   "r.ahead.err == nil && r.ahead.segment.size >= need",
			new:   "r.ahead.err == nil",
			layer: faults("TestP5NoWriteBeyondTheReservedSpace"),
		},
		{
			name: "the next segment has the number of the present one", file: "rotation.go", promise: "P6",
			old:   "\tplan.header.Number++\n",
			new:   "",
			layer: faults("TestP5ShortOfSpace"),
		},
		{
			name: "a next segment that nobody needs stays on the disk", file: "rotation.go", promise: "P10",
			old:   "\t\terr = discard(w.dir, a.segment.name+format.TmpSuffix, err)\n",
			new:   "\t\t_ = discard\n",
			layer: actor("TestP10CloseDropsTheNextSegment"),
		},
		{
			name: "a next segment that nobody needs stays open", file: "rotation.go", promise: "P10",
			old:   "\terr := a.segment.close()\n",
			new:   "\tvar err error\n",
			layer: actor("TestP10CloseDropsTheNextSegment"),
		},
		{
			name: "Close does not wait for the segment that is being made", file: "rotation.go", promise: "P10",
			old:   "\tif <-a.done; a.err != nil {\n",
			new:   "\tif !a.ready() {\n",
			layer: actor("TestP10CloseDropsTheNextSegment"),
		},
		{
			name: "Close leaves the next segment", file: "walwriter.go", promise: "P10",
			old:   "\terr := w.dropAhead()\n",
			new:   "\tvar err error\n",
			layer: actor("TestP10CloseDropsTheNextSegment"),
		},
		{
			name: "the old segment stays open", file: "rotation.go", promise: "P10",
			old:   "\tif err := old.close(); err != nil {\n\t\treturn w.fail(err)\n\t}\n\treturn nil\n",
			new:   "\t_ = old\n\treturn nil\n",
			layer: actor("TestP10CloseDropsTheNextSegment"),
		},
	}
}

// recoveries is about the half of recovery that writes.
func recoveries() []mutation {
	return []mutation{
		{
			name: "recovery appends END, and does not rewrite the groups that nothing proves durable", file: "recovery.go", promise: "P3",
			old:   "\t\tif err := replaceFile(r.dir, format.SegmentName(s.number), s.bytes, end); err != nil {",
			new:   "\t\twhole := append(append([]byte(nil), s.bytes...), end...)\n\t\tfile, err := r.dir.Open(format.SegmentName(s.number))\n\t\tif err == nil {\n\t\t\tat := len(whole) - format.EndEntryBytes\n\t\t\t_, err = file.WriteAt(whole[at:], int64(at))\n\t\t\terr = errors.Join(err, file.Sync(), file.Close())\n\t\t}\n\t\tif err != nil {",
			layer: promise("TestP3RecoveryRewritesLargeGroups"),
		},
		{
			name: "recovery writes in the same place what may be in the cache alone", file: "recovery.go", promise: "P3",
			old:   "\t\tif err := replaceFile(r.dir, format.SegmentName(s.number), s.bytes, end); err != nil {",
			new:   "\t\tfile, err := r.dir.Open(format.SegmentName(s.number))\n\t\tif err == nil {\n\t\t\t_, err = file.WriteAt(append(append(append([]byte(nil), s.bytes...), end...), make([]byte, 8192)...), 0)\n\t\t\terr = errors.Join(err, file.Sync(), file.Close())\n\t\t}\n\t\tif err != nil {",
			layer: explorer(),
		},
		{
			name: "recovery leaves the torn tail behind its END", file: "recovery.go", promise: "P6",
			old:   "\t\tif err := replaceFile(r.dir, format.SegmentName(s.number), s.bytes, end); err != nil {",
			new:   "\t\ttorn, _ := r.readSegment(s.number, 0)\n\t\tend = append(end, torn[min(len(torn), len(s.bytes)+len(end)):]...)\n\t\tif err := replaceFile(r.dir, format.SegmentName(s.number), s.bytes, end); err != nil {",
			layer: bytesOf("TestP6RoadmapReaderReadsNoTornGroup"),
		},
		{
			name: "recovery leaves a last segment that has its END as it is", file: "recovery.go", promise: "P3",
			old:   "\t\tif s.number == r.last && r.unused {",
			new:   "\t\tif s.number == r.last && (r.unused || s.ended) {",
			layer: promise("TestP3RecoveryRewritesEnd"),
		},
		{
			name: "recovery makes a new file of the last segment alone", file: "recovery.go", promise: "P3",
			old:   "\t\tif s.number == r.last && r.unused {",
			new:   "\t\tif s.number != r.last || r.unused {",
			layer: promise("TestP3OpenMakesACopyDurable"),
		},
		{
			name: "recovery's new file has no END", file: "recovery.go", promise: "P6",
			old:   "\t\tif !s.ended {",
			new:   "\t\tif false {",
			layer: explorer(),
		},
		{
			name: "recovery's new file has its name before it is synced", file: "directory.go", promise: "P3",
			old:   "\tif err == nil {\n\t\terr = vfs.SyncAside(file)\n\t}\n",
			new:   "\tif err == nil && name[0] != 'w' {\n\t\terr = vfs.SyncAside(file)\n\t}\n",
			layer: explorer(),
		},
		{
			name: "recovery's new file is not in the directory before a later segment is", file: "recovery.go", promise: "P3",
			old:   "\treturn syncDir(r.dir)",
			new:   "\treturn nil",
			layer: promise("TestP6NamesAreDurableInTheirOrder"),
		},
		{
			name: "recovery serves what it has not fsynced", file: "recovery.go", promise: "P3",
			old:   "\tif err := r.syncLoaded(); err != nil {\n\t\treturn err\n\t}\n",
			new:   "",
			layer: promise("TestP3OpenMakesACopyDurable"),
		},
		{
			name: "recovery does not fsync the snapshot that it loads", file: "recovery.go", promise: "P3",
			old:   "\tif r.snapshot > 0 {\n\t\tif err := r.sync(",
			new:   "\tif false {\n\t\tif err := r.sync(",
			layer: promise("TestP3OpenMakesACopyDurable"),
		},
		{
			name: "recovery does not fsync the segments that later ones prove", file: "recovery.go", promise: "P3",
			old:   "number < r.unproven[0].number; number++ {",
			new:   "number < 0; number++ {",
			layer: promise("TestP3OpenMakesACopyDurable"),
		},
		{
			name: "recovery goes on in the segment that it has read", file: "recovery.go", promise: "P6",
			old:   "\t\theader.Number = r.last + 1",
			new:   "\t\theader.Number = r.last",
			layer: explorer(),
		},
		{
			name: "Open removes what the snapshot covers before it is durable", file: "recovery.go", promise: "P3",
			old:   "\tif err := removeAll(r.dir, r.files.Temporary); err != nil {",
			new:   "\tif err := removeAll(r.dir, append(r.files.Below(r.snapshot), r.files.Temporary...)); err != nil {",
			layer: promise("TestP3NameThatIsNotDurable"),
		},
		{
			name: "the oldest snapshot is loaded", file: "internal/format/names.go", promise: "P6",
			old:   "return f.Snapshots[len(f.Snapshots)-1]",
			new:   "return f.Snapshots[0]",
			layer: bytesOf("TestP6WhatIsNotJudged"),
		},
		{
			name: "a torn tail is not reported", file: "recovery.go", promise: "P6",
			old:   "\tif tail.Torn > 0 {",
			new:   "\tif tail.Torn < 0 {",
			layer: bytesOf("TestP6TornTails"),
		},
		{
			name: "a read-only store repairs", file: "engine.go", promise: "P3",
			old:   "\tif err := r.judge(); err != nil || config.ReadOnly {\n\t\treturn r, nil, err",
			new:   "\tif err := r.judge(); err != nil {\n\t\treturn r, nil, err\n\t}\n\tif config.ReadOnly {\n\t\treturn r, nil, r.repair()",
			layer: behaviour("TestReadOnlyWritesNothing"),
		},
	}
}

// replays is about the half of recovery that reads much at once.
func replays() []mutation {
	return []mutation{
		{
			name: "recovery applies a segment's writes when its bytes are used for another one", file: "recovery.go", promise: "P6",
			old:   "\tr.replay.finish(r.table)\n",
			new:   "\tif isLast {\n\t\tr.replay.finish(r.table)\n\t}\n",
			layer: behaviour("TestP5ShortOfSpace"),
		},
		{
			name: "recovery applies writes while those before are still being applied", file: "recovery.go", promise: "P2",
			old:   "\tp.loading.Wait()\n\tops, version := p.ops, p.version\n",
			new:   "\tops, version := p.ops, p.version\n",
			layer: raced("TestP6ManyOperationsAreReplayedInOrder"),
		},
		{
			name: "recovery collects writes where those being applied are", file: "recovery.go", promise: "P2",
			old:   "\tp.ops, p.spare = p.spare[:0], ops\n",
			new:   "\tp.ops, p.spare = ops[:0], ops\n",
			layer: raced("TestP6ManyOperationsAreReplayedInOrder"),
		},
		{
			name: "recovery reads a segment over the bytes of one that it has to write again", file: "recovery.go", promise: "P3",
			old:   "\tr.forgetProven()\n",
			new:   "\tr.forgetProven()\n\tif r.spare == nil {\n\t\tr.spare = data[:0]\n\t}\n",
			layer: explorer(),
		},
		{
			name: "recovery's new file has the groups and not the END behind them", file: "recovery.go", promise: "P6",
			old:   "\tif err == nil && len(tail) > 0 {",
			new:   "\tif false {",
			layer: promise("TestP6GapBeforeAnEmptySegment"),
		},
	}
}

// judgements is about what is a torn tail, what is damage, and what is ours.
func judgements() []mutation {
	return []mutation{
		{
			name: "a segment under another's name is accepted", file: "internal/format/scan.go", promise: "P6",
			old:   "\tcase h.Number != number:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a snapshot under another's name is accepted", file: "internal/format/snapshotreader.go", promise: "P6",
			old:   "\tif r.Info.Number != number {",
			new:   "\tif false {",
			layer: formatTest("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a segment of another store is accepted", file: "internal/format/scan.go", promise: "P6",
			old:   "\tcase c.KnowsID && h.ID != c.ID:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a group that is not the next one is accepted", file: "internal/format/scan.go", promise: "P6",
			old:   "\tcase g.Number != s.chain.LastGroup+1:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a gap between segments is accepted", file: "internal/format/names.go", promise: "P6",
			old:   "missing := first + uint64(i); number != missing {",
			new:   "missing := first + uint64(i); number < missing {",
			layer: bytesOf("TestP6GapBeforeAnEmptySegment"),
		},
		{
			name: "a bad spot in a segment that is not the last is a torn tail", file: "internal/format/scan.go", promise: "P6",
			old:   "\tcase !isLast:",
			new:   "\tcase false:",
			layer: bytesOf("TestP6DamageIsRefused"),
		},
		{
			name: "an END of any group ends a segment", file: "internal/format/scan.go", promise: "P6",
			old:   "Ended: ended && end.Group == s.chain.LastGroup",
			new:   "Ended: ended && end.Group == end.Group",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "recovery stops at the first bad group, whatever lies behind it", file: "internal/format/scan.go", promise: "P6",
			old:   "durable, at := s.segment.DurableBehind(s.offset)",
			new:   "durable, at := uint64(0), 0",
			layer: bytesOf("TestP6DamageIsRefused"),
		},
		{
			name: "only the first witness behind a bad group is heard", file: "internal/format/segment.go", promise: "P6",
			old:   "\t\t\tdurable, at = d, offset\n",
			new:   "\t\t\treturn d, offset\n",
			layer: formatTest("TestDurableBehind"),
		},
		{
			name: "an END behind a bad group is no witness", file: "internal/format/segment.go", promise: "P6",
			old:   "\tif end, ok := s.EndAt(offset); ok {\n\t\treturn end.Durable\n\t}\n",
			new:   "",
			layer: formatTest("TestDurableBehind"),
		},
		{
			name: "a group's checksum is not looked at", file: "internal/format/segment.go", promise: "P6",
			old:   "c.checksum == crc32.Update(s.Seed(offset), castagnoli, body)",
			new:   "c.checksum == c.checksum^crc32.Update(0, castagnoli, nil)",
			layer: bytesOf("TestP6EveryBitOfTheLog"),
		},
		{
			name: "a COMMIT's own checksum is not looked at", file: "internal/format/segment.go", promise: "P6",
			old:   "\treturn c, isSealed(s.Data[offset:offset+e.Size()], s.Seed(offset-int(c.Length)))",
			new:   "\treturn c, true",
			layer: formatTest("TestDurableBehind"),
		},
		{
			name: "an END's checksum is not looked at", file: "internal/format/segment.go", promise: "P6",
			old:   "|| !e.isControl(OpEnd, endValueBytes) || !isSealed(s.Data[offset:offset+e.Size()], s.Seed(offset)) {",
			new:   "|| !e.isControl(OpEnd, endValueBytes) {",
			layer: formatTest("TestDurableBehind"),
		},
		{
			name: "a SEGMENT entry's checksum is not looked at", file: "internal/format/control.go", promise: "P6",
			old:   "|| len(e.Value) < 8 || !isSealed(b[:e.Size()], 0) {",
			new:   "|| len(e.Value) < 8 {",
			layer: bytesOf("TestP6EveryBitOfTheLog"),
		},
		{
			name: "a group is whole wherever it lies, in a value too", file: "internal/format/doc.go", promise: "P6",
			old:   "\tbinary.BigEndian.PutUint64(b[24:], uint64(offset))",
			new:   "\tbinary.BigEndian.PutUint64(b[24:], 0)",
			layer: formatTest("TestGroupsAreBoundToTheirPlace"),
		},
		{
			name: "a snapshot block's checksum is not looked at", file: "internal/format/snapshotreader.go", promise: "P6",
			old:   "\tif crc32.Checksum(bytes, castagnoli) != b.Checksum {",
			new:   "\tif false {",
			layer: bytesOf("TestP6EveryBitOfTheSnapshot"),
		},
		{
			name: "a snapshot block's pairs are loaded once more with those of the next one", file: "snapshot.go", promise: "P1",
			old:   "\tl.ops = l.ops[:0]\n",
			new:   "",
			layer: bytesOf("TestSnapshotBlocksShareTheirRoom"),
		},
		{
			name: "the room of a snapshot block is another's who has not done with it", file: "snapshot.go", promise: "P1",
			old:   "\tfor range runtime.GOMAXPROCS(0) {\n\t\tworkers.Go(func() {\n\t\t\tl := blockLoader{reader: r, table: t}\n",
			new:   "\tl := blockLoader{reader: r, table: t}\n\tfor range runtime.GOMAXPROCS(0) {\n\t\tworkers.Go(func() {\n",
			layer: raced("TestSnapshotBlocksShareTheirRoom"),
		},
		{
			name: "the snapshot trailer's checksum is not looked at", file: "internal/format/snapshotreader.go", promise: "P6",
			old:   "\tif !isSealed(tail, 0) {",
			new:   "\tif false {",
			layer: bytesOf("TestP6EveryBitOfTheSnapshot"),
		},
		{
			name: "a segment of a later version is damage", file: "internal/format/scan.go", promise: "P8",
			old:   "\tcase h.Version > Version:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a snapshot of a later version is accepted", file: "internal/format/snapshotreader.go", promise: "P8",
			old:   "\tcase footer.version > Version:",
			new:   "\tcase false:",
			layer: formatTest("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a DELETE with a value is accepted", file: "internal/format/segment.go", promise: "P8",
			old:   "\tcase e.Op == OpDelete && len(e.Value) > 0:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "an unknown op is taken for a SET", file: "internal/format/scan.go", promise: "P8",
			old:   "\tcase g.strange:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "behind damage a COMMIT is enough to make a group whole", file: "internal/format/segment.go", promise: "P6",
			old:   "\treturn start, ok && len(g.Bytes) == ",
			new:   "\treturn start, true || ok && len(g.Bytes) == ",
			layer: formatTest("TestNextIntact"),
		},
		{
			name: "behind damage no END is found", file: "internal/format/segment.go", promise: "P6",
			old:   "\t\tif _, ok := s.EndAt(at); ok {\n\t\t\treturn at, true\n\t\t}\n",
			new:   "",
			layer: formatTest("TestNextIntact"),
		},
		{
			name: "a block of a damaged snapshot is where its trailer says", file: "internal/format/snapshotreader.go", promise: "P11",
			old:   "\tif at < SnapshotHeaderBytes || end < at || end > r.TrailerAt || end-at > maxBlockBytes {",
			new:   "\tif end-at > maxBlockBytes {",
			layer: formatTest("TestGuessSnapshot"),
		},
	}
}

// lengths is about numbers from disk.
func lengths() []mutation {
	return []mutation{
		{
			name: "an entry's key length is believed", file: "internal/format/entry.go", promise: "P11",
			old:   "\tif keyLen > uint64(len(b)-EntryOverhead) {",
			new:   "\tif false {",
			layer: formatTest("TestP11LengthBombs"),
		},
		{
			name: "an entry's key length may be 4 too large", file: "internal/format/entry.go", promise: "P11",
			old:   "\tif keyLen > uint64(len(b)-EntryOverhead) {",
			new:   "\tif keyLen > uint64(len(b)-EntryOverhead+4) {",
			layer: bytesOf("TestP11LengthsNearTheRightOne"),
		},
		{
			name: "an entry's value length is believed", file: "internal/format/entry.go", promise: "P11",
			old:   "\tif valueLen > uint64(len(rest)-4) {\n\t\treturn Entry{}, false",
			new:   "\tif false {\n\t\treturn Entry{}, false",
			layer: formatTest("TestP11LengthBombs"),
		},
		{
			name: "a pair's value length is believed", file: "internal/format/snapshot.go", promise: "P11",
			old:   "\tif valueLen > uint64(len(rest)-4) {\n\t\treturn nil, nil, 0, false",
			new:   "\tif false {\n\t\treturn nil, nil, 0, false",
			layer: formatTest("TestP11LengthBombs"),
		},
		{
			name: "a pair's key length may be 4 too large", file: "internal/format/snapshot.go", promise: "P11",
			old:   "\tif keyLen > uint64(len(b)-pairOverhead) {",
			new:   "\tif keyLen > uint64(len(b)-4) {",
			layer: bytesOf("TestP11LengthsNearTheRightOne"),
		},
		{
			name: "a COMMIT's length is believed", file: "internal/format/segment.go", promise: "P11",
			old:   "\tif c.Length > uint64(offset) {",
			new:   "\tif c.Length > uint64(offset)+1 {",
			layer: formatTest("TestP11CommitLengthBombs"),
		},
		{
			name: "the snapshot trailer may be longer than the file", file: "internal/format/snapshotreader.go", promise: "P11",
			old:   "\tif footer.trailerBytes > uint64(min(footerAt-SnapshotHeaderBytes, maxTrailerBytes)) {",
			new:   "\tif footer.trailerBytes > maxTrailerBytes {",
			layer: formatTest("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a snapshot block may begin anywhere", file: "internal/format/snapshotreader.go", promise: "P11",
			old:   "\t\tif b.Offset != next || end <= b.Offset ||",
			new:   "\t\tif end <= b.Offset ||",
			layer: formatTest("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a snapshot block may end before it begins", file: "internal/format/snapshotreader.go", promise: "P11",
			old:   "\t\tif b.Offset != next || end <= b.Offset ||",
			new:   "\t\tif b.Offset != next ||",
			layer: formatTest("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a SEGMENT entry may be as long as the file", file: "internal/format/control.go", promise: "P11",
			old:   "DecodeEntry(b[:min(len(b), maxSegmentEntryBytes)])",
			new:   "DecodeEntry(b)",
			layer: formatTest("TestSegmentHeaderVersions"),
		},
	}
}

// failures is about errors of the disk.
func failures() []mutation {
	return []mutation{
		{
			name: "an fsync that failed is tried again", file: "segment.go", promise: "P5",
			old:   "\tif err := by.Sync(s.file); err != nil {\n\t\treturn fmt.Errorf(",
			new:   "\tif err := by.Sync(s.file); err != nil && s.file.Sync() != nil {\n\t\treturn fmt.Errorf(",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "a store that has failed goes on", file: "walwriter.go", promise: "P5",
			old:   "\tw.status.failure.Store(&w.failure)\n",
			new:   "\tdefer func() { w.failure = nil }()\n",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "only the first caller of a group hears that it has failed", file: "walwriter.go", promise: "P5",
			old:   "\t\tc.finish(err)\n",
			new:   "\t\tc.finish(err)\n\t\terr = nil\n",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "what was queued when the store failed is written", file: "walwriter.go", promise: "P5",
			old:   "\tif w.failure != nil {\n\t\treturn w.failure\n\t}\n\tif w.decide(); len(w.writes) == 0 {",
			new:   "\tif w.decide(); len(w.writes) == 0 {",
			layer: faults("TestP5BackgroundSyncFailsUnderSync"),
		},
		{
			name: "Close of a failed store writes its snapshot and removes the log", file: "walwriter.go", promise: "P5",
			old:   "\tif w.failure != nil {\n\t\terr = w.failure\n\t}\n\tif err == nil {\n\t\terr = w.closeLog()\n\t}\n",
			new:   "\terr = errors.Join(err, w.failure, w.closeLog())\n",
			layer: faults("TestP5FirstGroupFails|TestP5FailureIsSticky"),
		},
		{
			name: "a background fsync that failed is forgotten", file: "flush.go", promise: "P5",
			old:   "\tif w.flush.err != nil {",
			new:   "\tif false {",
			layer: faults("TestP5FailedBackgroundSyncIsSticky"),
		},
		{
			name: "a failed rotation does not fail the store", file: "rotation.go", promise: "P5",
			old:   "\tif err := next.publish(w.dir); err != nil {\n\t\treturn w.fail(err)\n\t}",
			new:   "\tif err := next.publish(w.dir); err != nil {\n\t\treturn err\n\t}",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "running out of space in the middle of a group is no failure", file: "walwriter.go", promise: "P5",
			old:   "\tif err != nil {\n\t\treturn w.fail(err)\n\t}\n\tif w.syncWrites",
			new:   "\tif vfs.IsExhausted(err) {\n\t\treturn err\n\t}\n\tif err != nil {\n\t\treturn w.fail(err)\n\t}\n\tif w.syncWrites",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "running out of space ahead of a group fails the store", file: "rotation.go", promise: "P5",
			old:   "\t\tif vfs.IsExhausted(err) {\n\t\t\treturn err\n\t\t}",
			new:   "\t\tif vfs.IsExhausted(err) {\n\t\t\treturn w.fail(err)\n\t\t}",
			layer: faults("TestP5OutOfSpace"),
		},
		{
			name: "END is written before the next segment's space is reserved", file: "rotation.go", promise: "P5",
			old:   "\tif err := w.reserve(size); err != nil {",
			new:   "\tif err := w.end(); err != nil {\n\t\treturn err\n\t}\n\tif err := w.reserve(size); err != nil {",
			layer: faults("TestP5OutOfSpace"),
		},
		{
			name: "a new batch grows by a quarter", file: "commands.go", promise: "P12",
			old: "\tcase size > cap(b.entries):\n\t\tb.grow(size)\n", new: "", layer: behaviour("TestP12BatchRoom"),
		},
		{
			name: "a new batch knows nothing of the last one", file: "commands.go", promise: "P12",
			old: "room = max(room, int(usualBatch.Load()))", new: "room += 0", layer: behaviour("TestP12BatchRoom"),
		},
		{
			name: "a small batch gets the room of a large one", file: "commands.go", promise: "P12",
			old: "\tif len(b.entries) >= smallBatchBytes {\n", new: "\tif true {\n", layer: behaviour("TestP12BatchRoom"),
		},
		{
			name: "one huge batch makes all others huge", file: "commands.go", promise: "P12",
			old: "min(n+n/8, maxUsualBatch)", new: "n+n/8", layer: behaviour("TestP12BatchRoom"),
		},
		{
			name: "a segment that could not be reserved stays open", file: "segment.go", promise: "P5",
			old:   "discard(dir, s.name+format.TmpSuffix, errors.Join(err, file.Close()))",
			new:   "discard(dir, s.name+format.TmpSuffix, errors.Join(err))",
			layer: faults("TestP7FailedOpenFreesTheLock"),
		},
		{
			name: "a segment that could not be reserved stays on the full disk", file: "segment.go", promise: "P5",
			old:   "discard(dir, s.name+format.TmpSuffix, errors.Join(err, file.Close()))",
			new:   "errors.Join(err, file.Close())",
			layer: faults("TestP5OutOfSpace"),
		},
		{
			name: "a full disk has to have room for a large segment", file: "segment.go", promise: "P5",
			old:   "\tif vfs.IsExhausted(err) && need < wanted {",
			new:   "\tif false {",
			layer: faults("TestP5ShortOfSpace"),
		},
		{
			name: "a group takes the room that END needs", file: "segment.go", promise: "P5",
			old:   "s.offset+groupBytes+format.EndEntryBytes <= s.size",
			new:   "s.offset+groupBytes <= s.size",
			layer: faults("TestP5NoWriteBeyondTheReservedSpace"),
		},
		{
			name: "the next segment is made without room for END", file: "rotation.go", promise: "P5",
			old:   "need := format.SegmentEntryBytes + size + format.EndEntryBytes",
			new:   "need := format.SegmentEntryBytes + size",
			layer: faults("TestP5NoWriteBeyondTheReservedSpace"),
		},
		{
			name: "a read error is taken for a torn tail", file: "recovery.go", promise: "P6",
			old:   "data); err != nil && size > 0 {",
			new:   "data); err == io.EOF && size > 0 {",
			layer: faults("TestP5EveryOperationFails"),
		},
		{
			name: "an Open that failed keeps the lock", file: "engine.go", promise: "P7",
			old:   "\t\treturn nil, errors.Join(err, dir.Close(), lock.Close())",
			new:   "\t\treturn nil, errors.Join(err, dir.Close())",
			layer: faults("TestP7FailedOpenFreesTheLock"),
		},
		{
			name: "a writer's lock is a shared one", file: "internal/vfs/os_unix.go", promise: "P7",
			old:   "os.O_RDWR|os.O_CREATE, syscall.LOCK_EX",
			new:   "os.O_RDWR|os.O_CREATE, syscall.LOCK_SH",
			layer: behaviour("TestP7OneOpener"),
		},
	}
}

// actors is about who waits for whom.
func actors() []mutation {
	return []mutation{
		{
			name: "a closed mailbox takes commands that nobody will answer", file: "internal/mailbox/mailbox.go", promise: "P10",
			old:   "\tif m.ended {\n\t\tm.bytes.Release(weight)\n\t\treturn m.closed\n\t}",
			new:   "\tif false {\n\t\tm.bytes.Release(weight)\n\t\treturn m.closed\n\t}",
			layer: actor("TestP10CallsThatMeetClose"),
		},
		{
			name: "sending does not exclude closing", file: "internal/mailbox/mailbox.go", promise: "P10",
			old:   "\tm.gate.RLock()\n\tdefer m.gate.RUnlock()\n",
			new:   "",
			layer: layer{name: "L0 race detector", tests: "TestP10CloseAgainstEverything", race: true},
		},
		{
			name: "Close does not wait", file: "engine.go", promise: "P10",
			old:   "\t\terr = s.goroutines.Wait()",
			new:   "\t\tgo s.goroutines.Wait()",
			layer: actor("TestP10CloseOnAStalledDisk"),
		},
		{
			name: "who waits for room in the mailbox does not hear of Close", file: "internal/mailbox/mailbox.go", promise: "P10",
			old:   "\tdefer context.AfterFunc(m.closing, cancel)()\n",
			new:   "",
			layer: actor("TestP10CloseOnAStalledDisk"),
		},
		{
			name: "the mailbox's bytes are never given back", file: "walwriter.go", promise: "P10",
			old:   "\tw.mailbox.Release(done)",
			new:   "\t_ = done",
			layer: actor("TestP5FailureReleasesTheQueue"),
		},
		{
			name: "each Sync makes the mailbox smaller", file: "walwriter.go", promise: "P10",
			old:   "\t\t\tc.answer <- w.makeDurable()\n\t\t\tw.mailbox.ReleaseControl()\n",
			new:   "\t\t\tc.answer <- w.makeDurable()\n",
			layer: actor("TestP10QueueKeepsItsSize"),
		},
		{
			name: "a command that was left for the next group is lost", file: "walwriter.go", promise: "P10",
			old:   "\t\t\tw.mailbox.PutBack(write) // to be looked at alone: see admit\n",
			new:   "",
			layer: actor("TestP12MaxKeysInOneGroup"),
		},
		{
			name: "a command larger than the mailbox waits for ever", file: "internal/mailbox/mailbox.go", promise: "P12",
			old:   "int64(min(max(n, minBytes), maxBytes))",
			new:   "int64(max(n, minBytes))",
			layer: actor("TestP10QueueKeepsItsSize"),
		},
		{
			name: "Sync's fsync begins while the background one is under way", file: "walwriter.go", promise: "P5",
			old:   "\tw.waitFlush()\n\tif w.failure != nil || w.durable == w.written {",
			new:   "\tw.settleFlush()\n\tif w.failure != nil || w.durable == w.written {",
			layer: actor("TestP5BackgroundSyncFailsUnderSync"),
		},
		{
			name: "END's fsync begins while the background one is under way", file: "rotation.go", promise: "P5",
			old:   "\tw.waitFlush()\n\tif w.failure != nil {\n\t\treturn w.failure\n\t}\n\tend :=",
			new:   "\tw.settleFlush()\n\tif w.failure != nil {\n\t\treturn w.failure\n\t}\n\tend :=",
			layer: actor("TestP5RotationUnderBackgroundSync"),
		},
		{
			name: "a command is used again while the writer has it", file: "engine.go", promise: "P9",
			old:   "\t\t\treturn ctx.Err() // c is the writer's still",
			new:   "\t\t\terr = ctx.Err()",
			layer: actor("TestP9QueuedCommandsOwnTheirBytes"),
		},
		{
			name: "the writer waits for ever for callers that do not come back", file: "internal/regroup/waiter.go", promise: "P10",
			old:   "\tfor range maxYields {\n",
			new:   "\tfor {\n",
			layer: hanging(actor("TestP10NobodyIsWaitedForForEver")),
		},
		{
			name: "the writer waits for a lone caller", file: "internal/regroup/waiter.go", promise: "P10",
			old:   "w.Answered+w.Waiting < 2 || w.Answered == 0",
			new:   "w.Answered == 0",
			layer: regroupTest("TestWhomTheWriterWaitsFor"),
		},
		{
			name: "the writer waits longer than a sync takes", file: "internal/regroup/waiter.go", promise: "P10",
			old:   "!soonBack(w.Answered, w.Synced) || ",
			new:   "",
			layer: regroupTest("TestWhomTheWriterWaitsFor"),
		},
		{
			name: "the writer waits again and again for callers that do not come back", file: "internal/regroup/waiter.go", promise: "P10",
			old:   "\t\tw.patience.vain(1)\n",
			new:   "\t\tw.patience.last++\n",
			layer: regroupTest("TestWhomTheWriterWaitsFor"),
		},
		{
			name: "what was in vain is never tried again", file: "internal/regroup/patience.go", promise: "P10",
			old:   "\t\tp.pause--\n",
			new:   "",
			layer: regroupTest("TestHowCallersAreTold"),
		},
		{
			name: "what was good does not make up for failures", file: "internal/regroup/patience.go", promise: "P10",
			old:   "p.last /= 2",
			new:   "",
			layer: regroupTest("TestPatienceComesBack"),
		},
		{
			name: "a single success makes up for all failures", file: "internal/regroup/patience.go", promise: "P10",
			old:   "p.last /= 2",
			new:   "p.last = 0",
			layer: regroupTest("TestPatienceComesBack"),
		},
		{
			name: "what is in vain is tried as often, whatever it costs", file: "internal/regroup/patience.go", promise: "P10",
			old:   " * max(groups, 1)",
			new:   "",
			layer: regroupTest("TestHowCallersAreTold"),
		},
	}
}

// tellings is about how callers have their answers.
func tellings() []mutation {
	store, teller := actor("TestP1EverybodyIsToldOnce"), regroupTest("TestHowCallersAreTold")
	return []mutation{
		{
			name: "a caller keeps the answer to itself", file: "engine.go", promise: "P10",
			old: "\t\tc.passOn(err)\n", new: "", layer: store,
		},
		{
			name: "a command that is used again tells the one that came after it before", file: "commands.go", promise: "P1",
			old: "c.condition, c.next = c.entries[:0], 0, 0, nil, nil", new: "c.condition = c.entries[:0], 0, 0, nil", layer: store,
		},
		{
			name: "of a failure, the first in line is told alone", file: "commands.go", promise: "P5",
			old: "c.next <- err", new: "c.next <- nil", layer: store,
		},
		{
			name: "somebody who may have left is to tell the next", file: "walwriter.go", promise: "P10",
			old: "\tif done.Attended() {\n", new: "\tif true {\n", layer: store,
		},
		{
			name: "nobody wakes the writer", file: "walwriter.go", promise: "P10",
			old: "\t\tcallers[len(callers)-1].next = w.told\n", new: "", layer: store,
		},
		{
			name: "callers are told by the writer and by one another", file: "walwriter.go", promise: "P1",
			old: "\t\tcallers = callers[:1] // the others will hear of it\n", new: "", layer: store,
		},
		{
			name: "the writer does not wait for who is to wake it", file: "walwriter.go", promise: "P10",
			old: "\t<-w.told //nolint", new: "\t//nolint", layer: store,
		},
		{
			name: "the writer sleeps, though so few gain nothing", file: "internal/regroup/teller.go", promise: "P10",
			old: "callers < minTold || ", new: "callers < 2 || ", layer: teller,
		},
		{
			name: "a thousand callers are told in turn", file: "internal/regroup/teller.go", promise: "P10",
			old: " || callers > maxAsleep", new: "", layer: teller,
		},
		{
			name: "callers are told in turn though the disk is faster than they", file: "internal/regroup/teller.go", promise: "P10",
			old: " || !soonBack(callers, synced)", new: "", layer: teller,
		},
		{
			name: "the writer may sleep for longer than a sync", file: "internal/regroup/teller.go", promise: "P10",
			old: "min(t.synced, time.Duration(callers)*turnTime)", new: "time.Duration(callers)*turnTime", layer: teller,
		},
		{
			name: "one way is given up for the other", file: "internal/regroup/teller.go", promise: "P10",
			old: "\tif way == Asleep {\n\t\treturn &t.asleep\n\t}\n", new: "", layer: regroupTest("TestWaysAreJudgedByThemselves"),
		},
		{
			name: "a writer that has slept for long sleeps again", file: "internal/regroup/teller.go", promise: "P10",
			old: "slept <= min(t.synced, time.Duration(callers)*turnTime)", new: "true", layer: teller,
		},
		{
			name: "one processor tells all callers", file: "internal/regroup/teller.go", promise: "P10",
			old: "\t\tway = Asleep\n", new: "", layer: teller,
		},
	}
}

// mailboxes is about the way of commands to the writer.
func mailboxes() []mutation {
	const mailbox, lane = "internal/mailbox/mailbox.go", "internal/mailbox/lane.go"
	return []mutation{
		{
			name: "a small write goes along with others while there is one that nobody waits for", file: lane, promise: "P2",
			old:   "\tif m.unattended.Load() > 0 {",
			new:   "\tif false {",
			layer: mailboxTest("TestNobodyOvertakesHimself"),
		},
		{
			name: "writes that nobody waits for do not count as such", file: mailbox, promise: "P2",
			old:   "\tif s.unattended {\n\t\tm.unattended.Add(n)\n\t}\n",
			new:   "",
			layer: mailboxTest("TestNobodyOvertakesHimself"),
		},
		{
			name: "writes that nobody waits for count as such for ever", file: mailbox, promise: "P2",
			old:   "\t\tm.unattended.Add(-r.unattended)",
			new:   "\t\t_ = r.unattended",
			layer: mailboxTest("TestNobodyOvertakesHimself"),
		},
		{
			name: "a write that was refused counts as on the way", file: mailbox, promise: "P10",
			old:   "\t\tm.count(s, -1)\n",
			new:   "",
			layer: mailboxTest("TestNothingComesAfterTheLast"),
		},
		{
			name: "ApplyAsync is taken for a call that waits", file: "engine.go", promise: "P2",
			old:   "s.newCommand(ctx, len(b.entries), false)",
			new:   "s.newCommand(ctx, len(b.entries), true)",
			layer: actor("TestP2NobodyOvertakesHimself"),
		},
		{
			name: "Apply is taken for a call that waits though its context may end", file: "engine.go", promise: "P2",
			old:   "s.newCommand(ctx, len(b.entries), ctx.Done() == nil)",
			new:   "s.newCommand(ctx, len(b.entries), true)",
			layer: actor("TestP2NobodyOvertakesHimself"),
		},
		{
			name: "a bundle that was received is joined", file: lane, promise: "P10",
			old:   "\t\tb.lane.open = nil\n",
			new:   "",
			layer: mailboxTest("TestBundles"),
		},
		{
			name: "the end of an old bundle ends the open one", file: lane, promise: "P10",
			old:   "\tif b.lane.open == b {",
			new:   "\tif true {",
			layer: mailboxTest("TestBundles"),
		},
		{
			name: "a bundle is never full", file: lane, promise: "P10",
			old:   "\tif len(l.open.writes) == bundleWrites {",
			new:   "\tif false {",
			layer: mailboxTest("TestBundles"),
		},
		{
			name: "a bundle arrives the wrong way round", file: lane, promise: "P2",
			old:   "b.writes[len(b.writes)-1-i]",
			new:   "b.writes[i]",
			layer: mailboxTest("TestBundles"),
		},
		{
			name: "what was in a bundle counts as on the way for ever", file: lane, promise: "P2",
			old:   "\tm.received += int64(len(b.writes))\n",
			new:   "",
			layer: mailboxTest("TestBundles"),
		},
		{
			name: "what came by itself counts as on the way for ever", file: mailbox, promise: "P2",
			old:   "\t\t\tm.received++\n",
			new:   "",
			layer: mailboxTest("TestLargeWrites"),
		},
		{
			name: "a bundle's bytes are never given back", file: lane, promise: "P10",
			old:   "\t\tw.slip().weight = minBytes\n\t\tm.held",
			new:   "\t\tm.held",
			layer: mailboxTest("TestBundles"),
		},
		{
			name: "a bundle takes no room", file: lane, promise: "P10",
			old:   "\tif err := m.acquire(ctx, bundleBytes); err != nil {\n\t\treturn err\n\t}\n\treturn m.sendBundle(l, w)\n",
			new:   "\tm.bytes.TryAcquire(bundleBytes)\n\treturn m.sendBundle(l, w)\n",
			layer: mailboxTest("TestSmallWritesAreBounded"),
		},
		{
			name: "who sends no bundle after all keeps the room for it", file: lane, promise: "P10",
			old:   "\t\tm.bytes.Release(bundleBytes)\n",
			new:   "",
			layer: mailboxTest("TestSecondBundle"),
		},
		{
			name: "a second bundle replaces the open one", file: lane, promise: "P10",
			old:   "\tif l.open != nil {\n\t\tm.bytes",
			new:   "\tif false {\n\t\tm.bytes",
			layer: mailboxTest("TestSecondBundle"),
		},
		{
			name: "a lane is used without its lock", file: lane, promise: "P10",
			old:   "\tl.mu.Lock()\n\tdefer l.mu.Unlock()\n\tif l.open == nil {",
			new:   "\tif l.open == nil {",
			layer: layer{name: "L0 race detector", pkg: "internal/mailbox", tests: "TestOrderOfManySenders", race: true},
		},
		{
			name: "a bundle that is not full takes as much room as a full one", file: lane, promise: "P10",
			old:   "\t\tm.bytes.Release(int64(unused))\n",
			new:   "",
			layer: mailboxTest("TestBundles"),
		},
		{
			name: "a bundle is unpacked while others join it", file: lane, promise: "P10",
			old:   "\tb.lane.mu.Lock()\n\tif b.lane.open == b {\n\t\tb.lane.open = nil\n\t}\n\tb.lane.mu.Unlock()\n",
			new:   "\tif b.lane.open == b {\n\t\tb.lane.open = nil\n\t}\n",
			layer: layer{name: "L0 race detector", pkg: "internal/mailbox", tests: "TestOrderOfManySenders", race: true},
		},
		{
			name: "what is put back comes last", file: mailbox, promise: "P2",
			old:   "m.held = append(m.held, w) }",
			new:   "m.held = append([]Write{w}, m.held...) }",
			layer: mailboxTest("TestPutBack"),
		},
	}
}

// beginnings is about what the disk is told to begin with, and what is done meanwhile.
func beginnings() []mutation {
	return []mutation{
		{
			name: "a caller has its bytes back while a goroutine stages them", file: "walwriter.go", promise: "P9",
			old:   "\twaitStaged() // whatever happened: callers get their bytes back\n\tif err != nil {\n\t\treturn w.fail(err)\n\t}\n",
			new:   "\tif err != nil {\n\t\treturn w.fail(err)\n\t}\n\twaitStaged()\n",
			layer: raced("TestP9FailedBatchesAreNotStaged"),
		},
		{
			name: "a large group is staged by those who do not know it yet", file: "walwriter.go", promise: "P3",
			old:   "\t\t<-decoded\n",
			new:   "",
			layer: raced("TestP3LargeBatchIsSeenWhenDurable"),
		},
		{
			name: "two goroutines stage one part", file: "internal/table/apply.go", promise: "P3",
			old:   "\tfor n := int(w.next.Add(1)) - 1; n < len(w.parts); n = int(w.next.Add(1)) - 1 {\n",
			new:   "\tfor n := range w.parts {\n",
			layer: tableTest("TestViewsStayWhatTheyWere"),
		},
		{
			name: "the results of staging are mixed up", file: "internal/table/apply.go", promise: "P3",
			old:   "\t\tw.ranks[i] = int32(at)\n",
			new:   "\t\tw.ranks[at] = int32(at)\n\t\t_ = i\n",
			layer: hanging(tableTest("TestViewsStayWhatTheyWere")),
		},
		{
			name: "what was found in staging is believed to be there still", file: "internal/table/shard.go", promise: "P3",
			old:   "o.index < len(s.slots) && s.slots[o.index] == o.slot",
			new:   "o.index < len(s.slots)",
			layer: tableTest("TestLaterOpsOfACommitWin"),
		},
		{
			name: "who is ready to write has to wait for a sync", file: "internal/regroup/waiter.go", promise: "P2",
			old:   "w.Synced > 0 && n > before && ",
			new:   "false && n > before && ",
			layer: regroupTest("TestWhoIsReadyIsInTheNextGroup"),
		},
		{
			name: "the next group is of those who had their turn by chance", file: "walwriter.go", promise: "P2",
			old:   "\tw.regroup.Wait(w.mailbox.Waiting)\n",
			new:   "",
			layer: behaviour("TestOneProcessorMakesLargeGroups"),
		},
		{
			name: "the writer gives way whether or not anybody comes", file: "internal/regroup/waiter.go", promise: "P10",
			old:   "n > before && ",
			new:   "n > before-1 && ",
			layer: hanging(actor("TestP10NobodyIsWaitedForForEver")),
		},
		{
			name: "a write that the disk did not begin is believed", file: "walwriter.go", promise: "P5",
			old:   "\t\terr = w.syncer.Begin(",
			new:   "\t\t_ = w.syncer.Begin(",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "a sync that was begun counts as done", file: "internal/vfs/syncer.go", promise: "P1",
			old:   "\terr := file.Sync()\n",
			new:   "\tif s.whole {\n\t\ts.whole = false\n\t\treturn nil\n\t}\n\terr := file.Sync()\n",
			layer: faults("TestP5SyncOfALargeGroupFails"),
		},
		{
			name: "the system's sync is not waited for", file: "internal/vfs/async_linux.go", promise: "P1",
			old:   "\tevent, err := s.wait()\n",
			new:   "\tevent, err := ioEvent{data: s.number}, error(nil)\n",
			layer: vfsTest("TestStartedSyncIsWaitedFor"),
		},
		{
			name: "what became of the system's sync is not looked at", file: "internal/vfs/async_linux.go", promise: "P5",
			old:   "\t\terr = event.err()\n",
			new:   "",
			layer: layer{name: "L7 limits of the OS", tests: "TestLimitFailedSyncOfALargeGroup"},
		},
		{
			name: "what is written while the system syncs is not synced", file: "internal/vfs/async_linux.go", promise: "P1",
			old:   "\t\ts.written = true\n",
			new:   "",
			layer: vfsTest("TestStartedSyncTellsTheResult"),
		},
		{
			name: "another sync's end is taken for this one's", file: "internal/vfs/async_linux.go", promise: "P1",
			old:   "\tcase event.data != s.number:\n",
			new:   "\tcase event.data == 0:\n",
			layer: vfsTest("TestStartedSyncTellsTheResult"),
		},
		{
			name: "where a sync cannot be begun, its context is lost", file: "internal/vfs/async_linux.go", promise: "P10",
			old:   "\tif err := f.control(\"io_submit\", s.submit); err != nil {\n\t\tcontexts.put(context)\n",
			new:   "\tif err := f.control(\"io_submit\", s.submit); err != nil {\n",
			layer: vfsTest("TestStartSyncWhereThereIsNone"),
		},
		{
			name: "a store needs a file that can begin a write", file: "internal/vfs/writeback_linux.go", promise: "P5",
			old:   "\tif isMissing(err) {\n\t\treturn nil\n\t}\n",
			new:   "",
			layer: vfsTest("TestStartWriteWhereThereIsNone"),
		},
		{
			name: "what was begun is not synced", file: "internal/vfs/syncer.go", promise: "P1",
			old:   "\terr := file.Sync()\n",
			new:   "\tvar err error\n\tif s.limit == 0 {\n\t\terr = file.Sync()\n\t}\n",
			layer: vfsTest("TestSyncerSyncs"),
		},
		{
			name: "a wait that is awake has no end", file: "internal/vfs/syncer.go", promise: "P10",
			old:   "turn < maxLingerTurns && ",
			new:   "",
			layer: hanging(vfsTest("TestSyncerSyncs")),
		},
		{
			name: "syncs linger where it makes them longer", file: "internal/vfs/syncer.go", promise: "P2",
			old:   "\tgain := s.usual - mean\n",
			new:   "\tgain := mean - s.usual\n",
			layer: vfsTest("TestSyncerLearnsWhetherToLinger"),
		},
		{
			name: "a disk that has changed goes unnoticed", file: "internal/vfs/syncer.go", promise: "P2",
			old:   "s.rows%trialRows == trialRows-1 || ",
			new:   "",
			layer: vfsTest("TestSyncerLearnsWhetherToLinger"),
		},
	}
}

// memory is about the table, and whose bytes are whose.
func memory() []mutation {
	return []mutation{
		{
			name: "memory that went back to the system is used page by page", file: "internal/table/arena_linux.go", promise: "memory",
			old:   "\tif b, ok := pop(&a.cold[class]); ok {\n\t\treturn b, false\n",
			new:   "\tif b, ok := pop(&a.cold[class]); ok {\n\t\treturn b, true\n",
			layer: tableTest("TestAllocHasItsPages"),
		},
		{
			name: "a small table's memory is used page by page", file: "internal/table/arena_linux.go", promise: "memory",
			old:   "\t\tpopulate(a.rest, false)\n",
			new:   "",
			layer: tableTest("TestAllocHasItsPages"),
		},
		{
			name: "what slots have left is no slab's", file: "internal/table/arena_linux.go", promise: "memory",
			old:   "\t\ta.splitWarm()\n",
			new:   "",
			layer: tableTest("TestSlabsTakeWhatSlotsLeft"),
		},
		{
			name: "what slots have left is one slab's, whatever its size", file: "internal/table/arena_linux.go", promise: "memory",
			old:   "; len(b) > 0; b = b[maxSlabBytes:] {\n",
			new:   "; len(b) > 0; b = nil {\n",
			layer: tableTest("TestSlabsTakeWhatSlotsLeft"),
		},
		{
			name: "all shards grow at once", file: "internal/table/table.go", promise: "memory",
			old:   "\t\ts.lean = i % leanSteps\n",
			new:   "",
			layer: tableTest("TestShardsGrowOneAfterTheOther"),
		},
		{
			name: "chunks do not grow", file: "internal/table/arena_linux.go", promise: "memory",
			old:   "a.total/2/minChunkBytes*minChunkBytes",
			new:   "0*a.total",
			layer: tableTest("TestChunksGrow"),
		},
		{
			name: "a batch is applied write by write", file: "walwriter.go", promise: "P4",
			old:   "\tw.table.Publish()\n",
			new:   "\tfor _, c := range w.commits {\n\t\tfor i := range c.Ops {\n\t\t\tw.table.Apply([]table.Commit{{Ops: c.Ops[i : i+1], Version: c.Version}})\n\t\t}\n\t}\n",
			layer: behaviour("TestP4BatchesAreSeenWhole"),
		},
		{
			name: "a batch takes its shards' locks one after the other", file: "internal/table/apply.go", promise: "P4",
			old:   "\tif len(c.Ops) == 1 {\n",
			new:   "\tif len(c.Ops) > 1 {\n\t\tfor i := range c.Ops {\n\t\t\tt.publishCommit(Commit{Ops: c.Ops[i : i+1], Version: c.Version}, first+i)\n\t\t}\n\t\treturn\n\t}\n\tif len(c.Ops) == 1 {\n",
			layer: tableRace("TestCommitCountsBeforeItIsSeen"),
		},
		{
			name: "Len changes after the locks of a batch are free", file: "internal/table/apply.go", promise: "P4",
			old:   "\tt.length.Add(int64(grown))\n\tt.version.Store(c.Version)\n\tfor i := range touched.all {\n\t\tt.shards[i].mu.Unlock()\n\t}\n",
			new:   "\tt.version.Store(c.Version)\n\tfor i := range touched.all {\n\t\tt.shards[i].mu.Unlock()\n\t}\n\tt.length.Add(int64(grown))\n",
			layer: tableRace("TestCommitCountsBeforeItIsSeen"),
		},
		{
			name: "Keys looks at one shard after the other", file: "internal/table/table.go", promise: "P4",
			old:   "\tfor w := range v.windows(true) {\n\t\tfor _, p := range w.pairs {\n\t\t\tkeys = append(keys, string(p.key))\n\t\t}\n\t}\n",
			new:   "\tfor i := range t.shards {\n\t\tt.shards[i].mu.RLock()\n\t\tfor r := range t.shards[i].records {\n\t\t\tkeys = append(keys, string(r.key()))\n\t\t}\n\t\tt.shards[i].mu.RUnlock()\n\t}\n",
			layer: tableTest("TestCommitsAreSeenWhole"),
		},
		{
			name: "Get reads without its shard's lock", file: "internal/table/table.go", promise: "P3",
			old:   "\ts.mu.RLock()\n\tslot, r := s.find(hash, key)\n\tif slot < 0 {\n\t\ts.mu.RUnlock()\n\t\treturn dst, false\n\t}\n\tdst = appendValue(dst, r.value())\n\ts.mu.RUnlock()\n",
			new:   "\tslot, r := s.find(hash, key)\n\tif slot < 0 {\n\t\treturn dst, false\n\t}\n\tdst = append(dst, r.value()...)\n",
			layer: tableRace("TestCommitsAreSeenWhole"),
		},
		{
			name: "Get returns the table's bytes", file: "internal/table/table.go", promise: "P9",
			old:   "\tdst = appendValue(dst, r.value())\n",
			new:   "\tif dst == nil {\n\t\tdst = r.value()\n\t} else {\n\t\tdst = append(dst, r.value()...)\n\t}\n",
			layer: behaviour("TestP9OwnershipOfKeysAndValues"),
		},
		{
			name: "a queued command shares the bytes of its batch", file: "commands.go", promise: "P9",
			old:   "\tc.entries = append(c.entries[:0], b.entries...)",
			new:   "\tc.entries = b.entries",
			layer: actor("TestP9QueuedCommandsOwnTheirBytes"),
		},
		{
			name: "an empty value is read as none", file: "internal/table/table.go", promise: "P9",
			old:   "\tif dst == nil && len(value) == 0 {",
			new:   "\tif false {",
			layer: behaviour("TestP9EmptyValues"),
		},
	}
}

// slots is about the table's hash table.
func slots() []mutation {
	return []mutation{
		{
			name: "a key whose hash begins like another's is taken for it", file: "internal/table/shard.go", promise: "P3",
			old:   "string(r.key()) == key {\n\t\t\t\treturn i",
			new:   "r != nil {\n\t\t\t\treturn i",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "many lookups at once take the first key whose hash begins alike", file: "internal/table/shard.go", promise: "P3",
			old:   "string(r.key()) == key {\n\t\treturn r",
			new:   "r != nil {\n\t\treturn r",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "many lookups at once look at the first key whose hash begins alike alone", file: "internal/table/shard.go", promise: "P3",
			old:   "\t_, r := s.find(hash, key)\n\treturn r\n",
			new:   "\treturn nil\n",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "a search ends at the last slot", file: "internal/table/shard.go", promise: "P3",
			old:   "\t\tif slot == 0 {\n\t\t\treturn -1, nil",
			new:   "\t\tif slot == 0 || i > mask {\n\t\t\treturn -1, nil",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "a removed key's slot is a hole in the search for others", file: "internal/table/shard.go", promise: "P3",
			old:   "distance < (j-i)&(len(s.slots)-1) {",
			new:   "distance >= 0 {",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "removing a key moves nobody round the end of the slots", file: "internal/table/shard.go", promise: "P3",
			old:   "distance < (j-i)&(len(s.slots)-1) {",
			new:   "distance < j-i {",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "a shard that grows puts keys of one home into one slot", file: "internal/table/shard.go", promise: "P3",
			old:   "\t\t\tgrown.insert(slot)\n",
			new:   "\t\t\tgrown.slots[grown.home(slot)] = slot\n",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "slots are used again with what was in them", file: "internal/table/shard.go", promise: "P3",
			old:   "\tclear(slots)\n",
			new:   "",
			layer: tableTest("TestReusedSlotsAreEmpty"),
		},
		{
			name: "a shard has room for what it holds, and not for what is staged", file: "internal/table/apply.go", promise: "P12",
			old:   "\tif s.count+s.staged >= s.maxLoad(len(s.slots)) {",
			new:   "\tif s.count >= s.maxLoad(len(s.slots)) {",
			layer: hanging(tableTest("TestGroupsAgreeWithAMap")),
		},
		{
			name: "what was staged once counts for ever", file: "internal/table/apply.go", promise: "P12",
			old:   "\t\tt.shards[i].staged = 0\n",
			new:   "",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "a shard's slots are replaced while MultiGet looks at them", file: "internal/table/apply.go", promise: "P4",
			old:   "\tt.applying.Lock()\n\ts.mu.Lock()\n\told := s.slots\n\ts.setSlots(slots)\n\ts.mu.Unlock()\n\tt.applying.Unlock()\n",
			new:   "\ts.mu.Lock()\n\told := s.slots\n\ts.setSlots(slots)\n\ts.mu.Unlock()\n",
			layer: tableRace("TestCommitsAreSeenWhole"),
		},
		{
			name: "a shard that was emptied keeps its slots", file: "internal/table/apply.go", promise: "P12",
			old:   "\tif len(s.slots) > minSlots && s.count < len(s.slots)/8 {",
			new:   "\tif false {",
			layer: tableTest("TestDeletedMemoryComesBack"),
		},
		{
			name: "Load counts a key that it replaces", file: "internal/table/shard.go", promise: "P4",
			old:   "\tfreed = s.slabs.discard(s.slots[slot] & placeMask)\n\ts.slots[slot] = entry\n\treturn 0, freed\n",
			new:   "\tfreed = s.slabs.discard(s.slots[slot] & placeMask)\n\ts.slots[slot] = entry\n\treturn 1, freed\n",
			layer: tableTest("TestLoadInParallel"),
		},
	}
}

// records is about the table's slabs, and the memory that they are made of.
func records() []mutation {
	return []mutation{
		{
			name: "a value of another size takes the place of the old one", file: "internal/table/apply.go", promise: "P3",
			old:   "size == recordBytes(len(op.Key), len(op.Value))",
			new:   "size >= recordBytes(len(op.Key), len(op.Value))",
			layer: tableTest("TestGroupsAgreeWithAMap"),
		},
		{
			name: "a key that its own commit deletes is overwritten where it was", file: "internal/table/apply.go", promise: "P4",
			old:   "\t\t_, doomed := p.doomed[id]\n",
			new:   "\t\tdoomed := false\n",
			layer: tableTest("TestLaterOpsOfACommitWin"),
		},
		{
			name: "compacting loses the first record of a slab", file: "internal/table/apply.go", promise: "P3",
			old:   "place); slot >= 0 {",
			new:   "place); slot >= 0 && at > 0 {",
			layer: tableTest("TestCompactingKeepsWhatLives"),
		},
		{
			name: "a slab is free before what lives in it has moved", file: "internal/table/apply.go", promise: "P3",
			old:   "\tvar moves []move\n\tmem, used := s.slabs.mem[n], int(s.slabs.use[n].used)\n",
			new:   "\tvar moves []move\n\tmem, used := s.slabs.mem[n], int(s.slabs.use[n].used)\n\tt.arena.free(mem)\n",
			layer: hanging(tableTest("TestGroupsAgreeWithAMap")),
		},
		{
			name: "records that were replaced do not count as dead", file: "internal/table/slabs.go", promise: "P12",
			old:   "\tl.dead += size\n",
			new:   "",
			layer: tableTest("TestGarbageIsBounded"),
		},
		{
			name: "dead records are never cleared away", file: "internal/table/apply.go", promise: "P12",
			old:   "\tfor s.slabs.dead > s.slabs.allowedDead() {",
			new:   "\tfor false {",
			layer: tableTest("TestGarbageIsBounded"),
		},
		{
			name: "Version changes after the locks of a batch are free", file: "internal/table/apply.go", promise: "P4",
			old:   "\tt.version.Store(c.Version)\n\tfor i := range touched.all {\n\t\tt.shards[i].mu.Unlock()\n\t}\n",
			new:   "\tfor i := range touched.all {\n\t\tt.shards[i].mu.Unlock()\n\t}\n\tt.version.Store(c.Version)\n",
			layer: tableRace("TestCommitCountsBeforeItIsSeen"),
		},
		{
			name: "readers look at what the writer is writing", file: "internal/table/table.go", promise: "P9",
			old: "uint32(place>>offsetBits) != l.open && ", new: "", layer: tableRace("TestReadersKeepAwayFromTheOpenSlab"),
		},
		{
			name: "a slab is opened while readers look at the shard", file: "internal/table/apply.go", promise: "P9",
			old:   "\tif open {\n\t\ts.slabs.open = number\n\t}\n\ts.mu.Unlock()\n\tt.applying.Unlock()\n",
			new:   "\ts.mu.Unlock()\n\tt.applying.Unlock()\n\tif open {\n\t\ts.slabs.open = number\n\t}\n",
			layer: tableRace("TestReadersKeepAwayFromTheOpenSlab"),
		},
		{
			name: "MultiGet looks at one key after the other", file: "internal/table/table.go", promise: "P4",
			old:   "\tvar shared []byte\n\tt.applying.RLock()\n\tdefer t.applying.RUnlock()\n",
			new:   "\tvar shared []byte\n",
			layer: tableRace("TestCommitsAreSeenWhole"),
		},
		{
			name: "MultiGet sees each window of keys at a moment of its own", file: "internal/table/table.go", promise: "P4",
			old:   "\tt.applying.RLock()\n\tdefer t.applying.RUnlock()\n\tfor len(keys) > 0 {\n",
			new:   "\tt.applying.RLock()\n\tdefer t.applying.RUnlock()\n\tfor len(keys) > 0 {\n\t\tt.applying.RUnlock()\n\t\truntime.Gosched()\n\t\tt.applying.RLock()\n",
			layer: tableTest("TestCommitsAreSeenWhole"),
		},
		{
			name: "appending to a value of MultiGet changes the next one", file: "internal/table/table.go", promise: "P9",
			old:   "\treturn shared[:n:n], shared[n:]",
			new:   "\treturn shared[:n], shared[n:]",
			layer: tableTest("TestMultiGetValuesAreTheirOwn"),
		},
		{
			name: "MultiGet returns the table's bytes", file: "internal/table/table.go", promise: "P9",
			old:   "\t\t\t\tvalues[i] = append([]byte(nil), r.value()...)\n",
			new:   "\t\t\t\tvalues[i] = r.value()\n",
			layer: tableTest("TestMultiGetValuesAreTheirOwn"),
		},
		{
			name: "a released table shows its keys", file: "internal/table/table.go", promise: "P10",
			old:   "\t\ts.setSlots(empty)\n",
			new:   "\t\t_ = empty\n",
			layer: tableTest("TestRelease"),
		},
		{
			name: "a released table counts its keys", file: "internal/table/table.go", promise: "P10",
			old:   "\tt.length.Store(0)\n",
			new:   "",
			layer: tableTest("TestRelease"),
		},
	}
}

// views is about old states.
func views() []mutation {
	stay := tableTest("TestViewsStayWhatTheyWere")
	return []mutation{
		{
			name: "a view shows an overwritten value", file: "internal/table/apply.go", promise: "views",
			old: "\tif t.views.newest.Load() >= 0 {", new: "\tif t.views.newest.Load() > 1<<62 {", layer: stay,
		},
		{
			name: "a state that a view needs is not kept, since an older view has one", file: "internal/table/history.go", promise: "views",
			old: "since > t.views.newest.Load()", new: "since > 0", layer: stay,
		},
		{
			name: "a view shows the oldest state that is kept", file: "internal/table/history.go", promise: "views",
			old: "\t\tif p.until > version {\n\t\t\treturn p", new: "\t\tif p.until > 0 {\n\t\t\treturn p", layer: stay,
		},
		{
			name: "a view shows what its own commit has ended", file: "internal/table/history.go", promise: "views",
			old: "\t\tif p.until > version {\n\t\t\treturn p", new: "\t\tif p.until >= version {\n\t\t\treturn p", layer: stay,
		},
		{
			name: "a kept value is the record's own bytes", file: "internal/table/history.go", promise: "views",
			old: "p.value = slices.Clone(r.value())", new: "p.value = r.value()", layer: stay,
		},
		{
			name: "the slab of a kept large record is freed", file: "internal/table/apply.go", promise: "views",
			old: "\tif freed != nil && kept == nil {", new: "\tif _ = kept; freed != nil {", layer: stay,
		},
		{
			name: "a kept key is the command's bytes", file: "internal/table/history.go", promise: "P9",
			old: "\tkey = strings.Clone(key) // its", new: "\tkey = strings.TrimPrefix(key, \"\\x00\\x00\") // its", layer: tableTest("TestKeptKeysAreCopies"),
		},
		{
			name: "absence is no state", file: "internal/table/apply.go", promise: "views",
			old: "slot >= 0 || !op.Delete {", new: "slot >= 0 {", layer: stay,
		},
		{
			name: "iterating misses keys that were deleted since", file: "internal/table/view.go", promise: "views",
			old: "\tfor key := range s.history { // those", new: "\tfor key := range map[string]past(nil) { // those", layer: stay,
		},
		{
			name: "iterating shows deleted keys in every window", file: "internal/table/view.go", promise: "views",
			old: "if tag := hash >> tagShift; tag < from || tag >= to {", new: "if tag := hash >> tagShift; tag < from {", layer: tableTest("TestViewOfALargeShard"),
		},
		{
			name: "iterating stops at a window's last slot", file: "internal/table/view.go", promise: "views",
			old: "i < last || s.slots[i%len(s.slots)] != 0 && i < first+len(s.slots)", new: "i < last", layer: tableTest("TestWindowsOfAShard"),
		},
		{
			name: "a window shows what the next one begins with", file: "internal/table/view.go", promise: "views",
			old: "slot != 0 && tag >= from && tag < to {", new: "slot != 0 && tag >= from {", layer: tableTest("TestWindowsOfAShard"),
		},
		{
			name: "closing a view drops what a newer one needs", file: "internal/table/history.go", promise: "views",
			old: "\t\tf.upTo = v.open[at]\n", new: "", layer: stay,
		},
		{
			name: "closing a view drops what an older one needs", file: "internal/table/history.go", promise: "views",
			old: "\t\tf.after = v.open[at-1]\n", new: "", layer: stay,
		},
		{
			name: "closing a view drops what began with the commit of an older one", file: "internal/table/history.go", promise: "views",
			old: "s.until <= f.upTo && s.since > f.after", new: "s.until <= f.upTo && s.since >= f.after", layer: tableTest("TestViewsKeepWhatBeganWithThem"),
		},
		{
			name: "closing a view leaves what ended with the commit of a newer one", file: "internal/table/history.go", promise: "views",
			old: "s.until <= f.upTo && s.since > f.after", new: "s.until < f.upTo && s.since > f.after", layer: stay,
		},
		{
			name: "closing a view drops nothing", file: "internal/table/history.go", promise: "views",
			old: "\t\tt.forget(states)\n", new: "\t\t_ = states\n", layer: stay,
		},
		{
			name: "closing a view passes over every second page of states", file: "internal/table/history.go", promise: "views",
			old: "\t\t\tnext = page + 1\n", new: "\t\t\tnext = page + 2\n", layer: tableTest("TestViewsForgetPages"),
		},
		{
			name: "closing a view passes over a page that begins too early", file: "internal/table/history.go", promise: "views",
			old: "p.states[len(p.states)-1].until > f.above", new: "p.states[0].until > f.above", layer: tableTest("TestViewsForgetPages"),
		},
		{
			name: "states are kept for the oldest view alone", file: "internal/table/history.go", promise: "views",
			old: "\t\tnewest = v.open[n-1]\n", new: "\t\tnewest = v.open[n-n]\n", layer: stay,
		},
		{
			name: "Keys leaves its view open", file: "internal/table/table.go", promise: "views",
			old: "\tdefer v.Close()\n\tkeys := make", new: "\tkeys := make", layer: stay,
		},
		{
			name: "a released table frees what views show", file: "internal/table/table.go", promise: "P10",
			old: "\tlast := t.views.idle()\n", new: "\tlast := true\n", layer: tableTest("TestViewsOutliveTheirTable"),
		},
		{
			name: "a released table opens a view", file: "internal/table/history.go", promise: "P10",
			old: "\tif v.released {\n\t\treturn 0, 0, false\n\t}\n", new: "", layer: tableTest("TestViewsOutliveTheirTable"),
		},
		{
			name: "a view opens in the middle of a commit", file: "internal/table/history.go", promise: "P4",
			old: "(version int64, length int, ok bool) {\n\tt.applying.RLock()\n\tdefer t.applying.RUnlock()\n", new: "(version int64, length int, ok bool) {\n",
			layer: tableTest("TestViewWaitsForACommit"),
		},
		{
			name: "a closed view is read", file: "internal/table/view.go", promise: "P10",
			old: "\tif v.closed {\n\t\treturn dst, false\n\t}\n", new: "", layer: behaviour("TestViewIsFrozen"),
		},
		{
			name: "a forgotten view stays open", file: "view.go", promise: "views",
			old: "\tif f.view.Close() {", new: "\tif false {", layer: hanging(behaviour("TestForgottenViewIsClosed")),
		},
		{
			name: "a view that is closed twice is counted out twice", file: "internal/table/view.go", promise: "views",
			old: "\tif closed {\n\t\treturn false\n\t}\n", new: "\t_ = closed\n", layer: behaviour("TestViewsAreCounted"),
		},
	}
}

// indexes is about which keys are in the ordered index, and when.
func indexes() []mutation {
	stay := tableTest("TestViewsStayWhatTheyWere")
	catchUp, built := hanging(tableTest("TestIndexCatchesUp")), tableTest("TestIndexBeginsWithOldStates")
	return []mutation{
		{
			name: "a new key is not in the index", file: "internal/table/apply.go", promise: "scans",
			old: "\tif slot < 0 && t.work.index != nil {", new: "\tif false {", layer: stay,
		},
		{
			name: "a new key is in the index after it can be seen", file: "internal/table/index.go", promise: "scans",
			old: "\t\tx.add(chunk)\n", new: "\t\tgo func() {\n\t\t\tfor range 100 {\n\t\t\t\truntime.Gosched()\n\t\t\t}\n\t\t\tx.add(chunk)\n\t\t}()\n", layer: stay,
		},
		{
			name: "what was staged before there was an index is not in it", file: "internal/table/apply.go", promise: "scans",
			old: "\tt.catchIndex(commits)\n", new: "", layer: tableTest("TestIndexOfStagedKeys"),
		},
		{
			name: "what was staged before there was an index, and is not published first, is not in it", file: "internal/table/apply.go", promise: "scans",
			old: "\tx.stage(keys)\n", new: "\tx.stage(keys)\n\tt.work.index = x\n", layer: tableTest("TestIndexOfStagedKeys"),
		},
		{
			name: "a key that only an open view has is taken out", file: "internal/table/index.go", promise: "scans",
			old: "slot >= 0 || s.history[key] != nil", new: "slot >= 0", layer: stay,
		},
		{
			name: "a key is taken out while it is about to come", file: "internal/table/index.go", promise: "scans",
			old: "\tif x.staged || x.tree == nil {\n\t\tfor", new: "\tif x.tree == nil {\n\t\tfor", layer: tableTest("TestIndexKeepsWhatIsToCome"),
		},
		{
			name: "a deleted key stays in the index", file: "internal/table/index.go", promise: "scans",
			old: "\t\tx.forget(t, gone)\n", new: "\t\t_ = gone\n", layer: stay,
		},
		{
			name: "a key stays in the index when the last view that has it closes", file: "internal/table/history.go", promise: "scans",
			old: "\t\t\tx.forget(t, chunk)\n", new: "\t\t\tx.forget(t, chunk[:0])\n", layer: stay,
		},
		{
			name: "taking out that was put off is forgotten", file: "internal/table/index.go", promise: "scans",
			old: "\tfor _, key := range x.gone {\n\t\tx.takeOutKey(t, key)\n\t}\n", new: "", layer: tableTest("TestIndexKeepsWhatIsToCome"),
		},
		{
			name: "keys are put off as the command's bytes", file: "internal/table/index.go", promise: "P9",
			old: "x.gone = append(x.gone, strings.Clone(key))", new: "x.gone = append(x.gone, strings.TrimPrefix(key, \"no\"))", layer: catchUp,
		},
		{
			name: "keys wait for the tree as the command's bytes", file: "internal/table/index.go", promise: "P9",
			old: "x.added = append(x.added, string(key))", new: "x.added = append(x.added, text(key))", layer: catchUp,
		},
		{
			name: "keys that come while the index is built are lost", file: "internal/table/index.go", promise: "scans",
			old: "x.added = append(x.added, string(key))", new: "x.added = append(x.added[:0], string(key))", layer: catchUp,
		},
		{
			name: "keys that come at the end of the building are lost", file: "internal/table/index.go", promise: "scans",
			old: "\tfor _, key := range x.added {\n\t\ttree.insert(key)\n\t}\n\tx.added, x.tree", new: "\tx.added, x.tree", layer: catchUp,
		},
		{
			name: "keys of a building's catching up are lost", file: "internal/table/index.go", promise: "scans",
			old: "\tadded := x.added\n\tx.added = nil\n", new: "\tadded := x.added[:len(x.added)/2]\n\tx.added = nil\n", layer: catchUp,
		},
		{
			name: "the writer waits for any number of keys to go in", file: "internal/table/index.go", promise: "P3",
			old: "\tif len(x.added) > maxCatchUp {", new: "\tif len(x.added) > 1<<40 {", layer: catchUp,
		},
		{
			name: "a scan does not wait for the index", file: "internal/table/index.go", promise: "scans",
			old: "\t<-x.built\n", new: "", layer: catchUp,
		},
		{
			name: "keys that only views have are not in a new index", file: "internal/table/index.go", promise: "scans",
			old: "\tfor key := range s.history {\n", new: "\tfor key := range map[string][]past(nil) {\n", layer: built,
		},
		{
			name: "keys that begin alike are not sorted", file: "internal/table/index.go", promise: "scans",
			old: "\t\treturn bytes.Compare(r.key(a)[skip:], r.key(b)[skip:])\n", new: "\t\treturn 0\n", layer: built,
		},
		{
			name: "sorted parts of an index are put together in no order", file: "internal/table/index.go", promise: "scans",
			old: "bytes.Compare(key, least) < 0 {", new: "bytes.Compare(key, least) > 0 {", layer: built,
		},
		{
			name: "a key that the table and a view have is in a new index twice", file: "internal/table/btree.go", promise: "scans",
			old: "t.len > 0 && bytes.Equal(last, key) {", new: "t.len < 0 && bytes.Equal(last, key) {", layer: built,
		},
	}
}

// trees is about the B+ tree.
func trees() []mutation {
	tree := hanging(tableTest("TestTreeAgreesWithASortedSlice"))
	return []mutation{
		{
			name: "a bound that is not above the left child", file: "internal/table/btree.go", promise: "scans",
			old: "\treturn right[:i+1]\n", new: "\treturn right[:i]\n", layer: tree,
		},
		{
			name: "a bound that is above the right child", file: "internal/table/btree.go", promise: "scans",
			old: "\treturn right[:i+1]\n", new: "\treturn append(slices.Clone(right), 0)\n", layer: tree,
		},
		{
			name: "a split loses a child", file: "internal/table/btree.go", promise: "scans",
			old: "children: slices.Clone(n.children[middle+1:])}", new: "children: slices.Clone(n.children[middle+2:])}", layer: tree,
		},
		{
			name: "a split leaves its bound in the left node", file: "internal/table/btree.go", promise: "scans",
			old: "\tn.keys.remove(middle)\n", new: "", layer: tree,
		},
		{
			name: "a join drops the bound", file: "internal/table/btree.go", promise: "scans",
			old: "\t\tleft.keys.append(n.keys.at(i))\n", new: "", layer: tree,
		},
		{
			name: "a join leaves the joined child", file: "internal/table/btree.go", promise: "scans",
			old: "\tn.children = slices.Delete(n.children, i+1, i+2)\n", new: "", layer: tree,
		},
		{
			name: "a key that equals a bound goes to the left of it", file: "internal/table/btree.go", promise: "scans",
			old: "\tif found {\n\t\treturn i + 1\n\t}\n", new: "\tif found {\n\t\treturn i\n\t}\n", layer: tree,
		},
		{
			name: "descending skips the child that it begins in", file: "internal/table/btree.go", promise: "scans",
			old: "\tfor i := end; i >= 0; i-- {\n\t\tif !n.children", new: "\tfor i := end - 1; i >= 0; i-- {\n\t\tif !n.children", layer: tree,
		},
		{
			name: "descending shows the bound itself", file: "internal/table/btree.go", promise: "scans",
			old: "\t\tend, _ = n.keys.search(below)\n", new: "\t\tend, _ = n.keys.search(below + \"\\x00\")\n", layer: tree,
		},
		{
			name: "ascending goes on when it is told to stop", file: "internal/table/btree.go", promise: "scans",
			old: "\t\tif !child.ascend(from, visit) {\n", new: "\t\tif !child.ascend(from, visit) && false {\n", layer: tree,
		},
		{
			name: "building loses the bounds between inner nodes", file: "internal/table/btree.go", promise: "scans",
			old: "\t\t\tbounds = append(bounds, between[i])\n", new: "\t\t\tbounds = append(bounds, \"\")\n", layer: tree,
		},
		{
			name: "an empty leaf stays", file: "internal/table/btree.go", promise: "scans",
			old: "\tcase child.isEmpty():\n\t\tn.drop(i)\n", new: "", layer: hanging(tableTest("TestTreeAgreesWithASortedSlice|TestTreeShrinks")),
		},
		{
			name: "nodes that have become small stay", file: "internal/table/btree.go", promise: "P12",
			old: "child.keys.len() < maxNodeKeys/4 && !n.join(i):", new: "child.keys.len() < 0 && !n.join(i):", layer: tableTest("TestTreeShrinks"),
		},
		{
			name: "nodes are never split", file: "internal/table/btree.go", promise: "scans",
			old: "\tif !n.keys.isFull() {", new: "\tif n.keys.isFull() || !n.keys.isFull() {", layer: tree,
		},
	}
}

// scans is about what a scan shows.
func scans() []mutation {
	stay := tableTest("TestViewsStayWhatTheyWere")
	every, neighbours := behaviour("TestScanOfEveryRange"), hanging(tableTest("TestScanOfNeighbours"))
	return []mutation{
		{
			name: "a prefix that ends with 0xff has no end", file: "internal/table/scan.go", promise: "scans",
			old: "i := len(p) - 1; i >= 0; i--", new: "i := len(p) - 1; i >= 0 && i == len(p)-1; i--", layer: every,
		},
		{
			name: "a prefix ends too early", file: "internal/table/scan.go", promise: "scans",
			old: "return p[:i] + string([]byte{p[i] + 1}), true", new: "return p[:i+1] + string([]byte{p[i] + 1}), true", layer: every,
		},
		{
			name: "a prefix does not bound from below", file: "internal/table/scan.go", promise: "scans",
			old: "\tb.Low = max(b.Low, prefix)\n", new: "", layer: every,
		},
		{
			name: "a prefix does not bound what To bounds", file: "internal/table/scan.go", promise: "scans",
			old: "ok && (!b.Bounded || end < b.High) {", new: "ok && !b.Bounded {", layer: every,
		},
		{
			name: "To is shown", file: "internal/table/scan.go", promise: "scans",
			old: "!reverse && b.Bounded && text(key) >= b.High {", new: "!reverse && b.Bounded && text(key) > b.High {", layer: every,
		},
		{
			name: "From is not shown in reverse", file: "internal/table/scan.go", promise: "scans",
			old: "reverse && text(key) < b.Low ||", new: "reverse && text(key) <= b.Low ||", layer: every,
		},
		{
			name: "From does not bound in reverse", file: "internal/table/scan.go", promise: "scans",
			old: "reverse && text(key) < b.Low ||", new: "reverse && text(key) < \"\" ||", layer: every,
		},
		{
			name: "Limit shows one more", file: "scan.go", promise: "scans",
			old: "shown++; shown == r.Limit {", new: "shown++; r.Limit > 0 && shown > r.Limit {", layer: every,
		},
		{
			name: "no limit is a limit", file: "scan.go", promise: "scans",
			old: "shown++; shown == r.Limit {", new: "shown++; shown >= r.Limit {", layer: every,
		},
		{
			name: "the next window begins with the last key", file: "internal/table/scan.go", promise: "scans",
			old: "\t\tb.Low = last + \"\\x00\"", new: "\t\tb.Low = last", layer: neighbours,
		},
		{
			name: "the next window begins behind the next key", file: "internal/table/scan.go", promise: "scans",
			old: "\t\tb.Low = last + \"\\x00\"", new: "\t\tb.Low = last + \"\\x00\\x00\"", layer: neighbours,
		},
		{
			name: "the next window in reverse begins with the last key", file: "internal/table/scan.go", promise: "scans",
			old: "\t\tb.High, b.Bounded = last, true\n", new: "\t\tb.High, b.Bounded = last+\"\\x00\", true\n", layer: neighbours,
		},
		{
			name: "a scan ends with its first window", file: "internal/table/scan.go", promise: "scans",
			old: "\t\t\tif keys.len() < n {\n", new: "\t\t\tif keys.len() <= n {\n", layer: neighbours,
		},
		{
			name: "a loop can be run once", file: "internal/table/scan.go", promise: "scans",
			old: "\t\tb := b // the same loop may be run again\n", new: "", layer: neighbours,
		},
		{
			name: "a scan shows the present", file: "internal/table/scan.go", promise: "views",
			old: "unchanged := t.Version() == v.version", new: "unchanged := t.Version() >= v.version", layer: stay,
		},
		{
			name: "a scan shows absent keys", file: "internal/table/scan.go", promise: "scans",
			old: "value, present := l.next(i); present && !yield(", new: "value, _ := l.next(i); !yield(", layer: stay,
		},
		{
			name: "a scan over a view that is closed goes on", file: "internal/table/scan.go", promise: "P10",
			old: "\tif v.closed {\n\t\treturn\n\t}\n", new: "", layer: behaviour("TestP10ScanAndClose"),
		},
		{
			name: "a scan returns the table's bytes", file: "internal/table/scan.go", promise: "P9",
			old: "append(l.alone, append([]byte(nil), value...))", new: "append(l.alone, value)", layer: behaviour("TestP9ScannedPairsAreTheCallers"),
		},
		{
			name: "appending to a scanned value changes the next one", file: "internal/table/scan.go", promise: "P9",
			old: "l.block[:size:size]", new: "l.block[:size]", layer: behaviour("TestP9ScannedPairsAreTheCallers"),
		},
		{
			name: "a scan's empty value is none", file: "internal/table/scan.go", promise: "P9",
			old: "l.block == nil || ", new: "", layer: behaviour("TestScanShowsAnEmptyValue"),
		},
		{
			name: "a scan's values have room for the first window alone", file: "internal/table/scan.go", promise: "P9",
			old: "l.block == nil || len(l.block) < shared", new: "l.block == nil", layer: behaviour("TestP10ScanAndClose"),
		},
		{
			name: "a scan leaves its view open", file: "scan.go", promise: "views",
			old: "\t\tdefer func() { _ = v.Close() }() // it returns nil\n\t\tv.Scan(r)(yield)\n", new: "\t\tv.Scan(r)(yield)\n\t\t_ = v.Close()\n",
			layer: behaviour("TestScanReleasesEverything"),
		},
		{
			name: "a scan's values come from several moments", file: "internal/table/scan.go", promise: "P4",
			old: "return s.at(v.version, key, r)\n", new: "return s.at(v.table.Version(), key, r)\n", layer: stay,
		},
	}
}

// transactions is about Update.
func transactions() []mutation {
	conflicts, own := actor("TestUpdateConflicts"), behaviour("TestUpdateSeesItsOwnWrites")
	refused, fails := behaviour("TestUpdateIsRefused"), behaviour("TestUpdateThatFails")
	return []mutation{
		{
			name: "what a transaction reads does not count", file: "tx.go", promise: "Update",
			old: "\ttx.reads[key] = struct{}{}\n", new: "", layer: conflicts,
		},
		{
			name: "absent keys that a transaction reads do not count", file: "tx.go", promise: "Update",
			old: "\ttx.reads[key] = struct{}{}\n", new: "\tif _, ok := tx.view.Get(nil, key); ok {\n\t\ttx.reads[key] = struct{}{}\n\t}\n", layer: conflicts,
		},
		{
			name: "ranges that a transaction scans do not count", file: "tx.go", promise: "Update",
			old: "ranges: tx.ranges}", new: "ranges: nil}", layer: conflicts,
		},
		{
			name: "a range counts only when its loop is left", file: "tx.go", promise: "Update",
			old:   "\t\tif loop.run(bounds) || tx.ended {",
			new:   "\t\ttx.ranges[at] = table.Bounds{Bounded: true}\n\t\tdone := loop.run(bounds)\n\t\ttx.ranges[at] = bounds\n\t\tif done || tx.ended {",
			layer: conflicts,
		},
		{
			name: "a range that was left early counts as a whole", file: "tx.go", promise: "Update",
			old: "\t\tif loop.run(bounds) || tx.ended {", new: "\t\tif loop.run(bounds) || !tx.ended {", layer: conflicts,
		},
		{
			name: "a range that was left early ends before the last key", file: "tx.go", promise: "Update",
			old: "= loop.last+\"\\x00\", true", new: "= loop.last, true", layer: conflicts,
		},
		{
			name: "a range that was left early in reverse begins behind the last key", file: "tx.go", promise: "Update",
			old: "tx.ranges[at].Low = loop.last\n", new: "tx.ranges[at].Low = loop.last + \"\\x00\"\n", layer: conflicts,
		},
		{
			name: "a range that was left early in reverse is narrowed at the wrong end", file: "tx.go", promise: "Update",
			old: "\t\tif r.Reverse {\n\t\t\ttx", new: "\t\tif false {\n\t\t\ttx", layer: conflicts,
		},
		{
			name: "nobody looks at what a transaction has read", file: "tx.go", promise: "Update",
			old: "\tc.condition = only\n", new: "\tonly.met = true\n", layer: conflicts,
		},
		{
			name: "keys that are written ahead of a transaction in its group do not count", file: "tx.go", promise: "Update",
			old: "_, changed := ahead[key]; changed {", new: "_, changed := ahead[key]; changed && false {", layer: conflicts,
		},
		{
			name: "ranges that are written to ahead of a transaction in its group do not count", file: "tx.go", promise: "Update",
			old: "\tif len(r.ranges) > 0 {", new: "\tif len(r.ranges) < 0 {", layer: conflicts,
		},
		{
			name: "only the newest commit can be a conflict", file: "internal/table/view.go", promise: "Update",
			old: "\tif t.Version() == v.version {", new: "\tif t.Version() >= v.version {", layer: conflicts,
		},
		{
			name: "only a key's first change counts", file: "internal/table/history.go", promise: "Update",
			old: "states[len(states)-1].until > version", new: "states[0].until > version", layer: conflicts,
		},
		{
			name: "a change that the view shows is a conflict", file: "internal/table/history.go", promise: "Update",
			old: "states[len(states)-1].until > version", new: "states[len(states)-1].until >= version", layer: conflicts,
		},
		{
			name: "what is at the end of a range is a conflict", file: "internal/table/index.go", promise: "Update",
			old: "b.Bounded && text(key) >= b.High {\n\t\t\treturn false\n\t\t}\n\t\tfound", new: "b.Bounded && text(key) > b.High {\n\t\t\treturn false\n\t\t}\n\t\tfound", layer: conflicts,
		},
		{
			name: "only a range's first key counts", file: "internal/table/index.go", promise: "Update",
			old: "\t\treturn !found\n", new: "\t\treturn false\n", layer: conflicts,
		},
		{
			name: "nothing has changed under a closed view", file: "internal/table/view.go", promise: "Update",
			old: "\tif v.closed {\n\t\treturn false\n\t}\n\tif t", new: "\tif v.closed {\n\t\treturn true\n\t}\n\tif t", layer: actor("TestUpdateWaitsForWhatItDependsOn"),
		},
		{
			name: "what met a conflict is written all the same", file: "condition.go", promise: "Update",
			old: "\t\t\t\tcontinue\n", new: "\t\t\t\tc.condition.met = false\n", layer: explorer(),
		},
		{
			name: "a transaction that failed on the disk is acknowledged", file: "tx.go", promise: "P5",
			old: "\tif err := s.commit(ctx, c); err != nil {\n\t\treturn err\n", new: "\tif err := s.commit(ctx, c); err != nil {\n\t\treturn nil\n", layer: faults("TestP5EveryOperationFails"),
		},
		{
			name: "a conflict is not tried again", file: "tx.go", promise: "Update",
			old: "err != errAgain && err != errExpired {", new: "err != errExpired {", layer: conflicts,
		},
		{
			name: "ErrConflict does not say that ctx has ended", file: "tx.go", promise: "Update",
			old: "fmt.Errorf(\"%w: %w\", ErrConflict, ended)", new: "fmt.Errorf(\"%w: %v\", ErrConflict, ended)", layer: behaviour("TestUpdateGivesUp"),
		},
		{
			name: "a context that ends before the commit hides the conflicts", file: "tx.go", promise: "Update",
			old: "\t\treturn errExpired\n", new: "\t\treturn err\n", layer: behaviour("TestUpdateGivesUp"),
		},
		{
			name: "ErrConflict without a conflict", file: "tx.go", promise: "Update",
			old: "case ended != nil && conflicted:", new: "case ended != nil:", layer: refused,
		},
		{
			name: "a transaction that fails is committed", file: "tx.go", promise: "Update",
			old: "\tif err := fn(tx); err != nil {\n\t\treturn err\n\t}\n", new: "\tif err := fn(tx); err != nil {\n\t\t_ = s.commitTx(ctx, tx)\n\t\treturn err\n\t}\n", layer: fails,
		},
		{
			name: "the function's error is wrapped", file: "tx.go", promise: "Update",
			old: "\tif err := fn(tx); err != nil {\n\t\treturn err\n\t}\n", new: "\tif err := fn(tx); err != nil {\n\t\treturn fmt.Errorf(\"kvstore: %w\", err)\n\t}\n", layer: fails,
		},
		{
			name: "a transaction that panics leaves its view open", file: "tx.go", promise: "views",
			old:   "\tdefer func() { _ = view.Close() }() // it returns nil\n",
			new:   "\tdefer func() {\n\t\tif e := recover(); e != nil {\n\t\t\tpanic(e)\n\t\t}\n\t\t_ = view.Close()\n\t}()\n",
			layer: fails,
		},
		{
			name: "a transaction that only reads is a commit", file: "tx.go", promise: "P13",
			old: "\tif tx.err != nil || len(tx.writes) == 0 {", new: "\tif tx.err != nil {", layer: fails,
		},
		{
			name: "a limit that a transaction breaks is not reported", file: "tx.go", promise: "P12",
			old: "\tif tx.err != nil || len(tx.writes) == 0 {\n\t\treturn tx.err\n", new: "\tif len(tx.writes) == 0 {\n\t\treturn nil\n", layer: refused,
		},
		{
			name: "what a transaction writes besides what breaks a limit is committed", file: "tx.go", promise: "P12",
			old: "\tif tx.err != nil || len(tx.writes) == 0 {", new: "\tif len(tx.writes) == 0 {", layer: refused,
		},
		{
			name: "a transaction's own writes are not seen", file: "tx.go", promise: "Update",
			old: "written := tx.writes[key]; written {", new: "written := tx.writes[key]; written && false {", layer: own,
		},
		{
			name: "a key that the transaction has deleted is there", file: "tx.go", promise: "Update",
			old: "return w.copy(), !w.deleted", new: "return w.copy(), true", layer: own,
		},
		{
			name: "a scan shows what the transaction has deleted", file: "tx.go", promise: "Update",
			old: "!w.deleted && !l.show(key, w.copy()) {", new: "!l.show(key, append([]byte{}, w.value...)) {", layer: own,
		},
		{
			name: "a scan shows what the transaction has overwritten", file: "tx.go", promise: "Update",
			old: "len(l.own) > 0 && l.own[0] == key {", new: "len(l.own) < 0 && l.own[0] == key {", layer: own,
		},
		{
			name: "a scan in reverse shows a transaction's own keys too late", file: "tx.go", promise: "Update",
			old: "own < key != l.reverse && own != key", new: "own < key && own != key", layer: own,
		},
		{
			name: "a scan leaves out a transaction's own keys behind the last one", file: "tx.go", promise: "Update",
			old: "\treturn l.showOwn(written, func(string) bool { return true })\n", new: "\treturn true\n", layer: own,
		},
		{
			name: "a transaction's scan has no limit", file: "tx.go", promise: "Update",
			old: "return l.yield(key, value) && l.shown != l.limit", new: "return l.yield(key, value)", layer: own,
		},
		{
			name: "a scan shows what its body writes", file: "tx.go", promise: "Update",
			old: "written := maps.Clone(l.tx.writes)", new: "written := l.tx.writes", layer: behaviour("TestUpdateWritesInsideAScan"),
		},
		{
			name: "a transaction keeps the caller's bytes", file: "tx.go", promise: "P9",
			old: "txWrite{value: slices.Clone(value)}", new: "txWrite{value: value}", layer: own,
		},
		{
			name: "a transaction gives its own bytes away", file: "tx.go", promise: "P9",
			old: "\treturn append([]byte{}, w.value...)\n", new: "\treturn append(w.value[:len(w.value):len(w.value)], []byte{}...)\n", layer: behaviour("TestUpdateWritesInsideAScan"),
		},
		{
			name: "a transaction that has ended reads", file: "tx.go", promise: "Update",
			old: "\tif tx.ended {\n\t\treturn nil, false\n\t}\n\tif w", new: "\tif w", layer: behaviour("TestUpdateHasEnded"),
		},
		{
			name: "a transaction that has ended scans", file: "tx.go", promise: "Update",
			old: "\t\tif tx.ended {\n\t\t\treturn\n\t\t}\n", new: "", layer: behaviour("TestUpdateHasEnded"),
		},
	}
}

// checkpoints is about snapshots while serving.
func checkpoints() []mutation {
	return []mutation{
		{
			name: "a snapshot while serving without a new segment", file: "checkpoint.go", promise: "P1",
			old: "\tif !w.segment.empty() {\n", new: "\tif false {\n", layer: explorer(),
		},
		{
			name: "a snapshot while serving vouches for one group too many", file: "checkpoint.go", promise: "P1",
			old: "LastGroup: w.written,", new: "LastGroup: w.written + 1,", layer: explorer(),
		},
		{
			name: "what a failed snapshot should cover is removed", file: "checkpoint.go", promise: "P1",
			old: "\tc.view.Close()\n\tif err != nil {\n\t\treturn err\n\t}\n", new: "\tc.view.Close()\n\tif err != nil {\n\t\tfiles, _ := list(w.dir)\n\t\t_ = removeAll(w.dir, files.Below(c.info.Number))\n\t\treturn err\n\t}\n",
			layer: behaviour("TestSnapshotFails"),
		},
		{
			name: "a failed snapshot counts as one", file: "checkpoint.go", promise: "P1",
			old: "\t\tw.report(\"kvstore: snapshot failed\", c.err)\n\t\treturn\n", new: "\t\tw.report(\"kvstore: snapshot failed\", c.err)\n",
			layer: behaviour("TestSnapshotFails"),
		},
		{
			name: "a failed snapshot keeps its view", file: "checkpoint.go", promise: "views",
			old: "\tc.view.Close()\n\tif err != nil {\n\t\treturn err", new: "\tif err != nil {\n\t\treturn err", layer: behaviour("TestSnapshotFails"),
		},
		{
			name: "the log that a snapshot covers stays", file: "checkpoint.go", promise: "SnapshotBytes",
			old: "\t\terr = removeAll(w.dir, files.Below(c.info.Number))\n", new: "\t\t_ = files\n", layer: behaviour("TestSnapshotWhileServing"),
		},
		{
			name: "the writer waits for a large segment before a snapshot", file: "rotation.go", promise: "P3",
			old: "\t\tplan.size = min(plan.size, firstSegmentBytes)\n", new: "", layer: actor("TestSnapshotOfASmallLog"),
		},
		{
			name: "a snapshot whose bytes the disk did not take is given its name", file: "internal/vfs/gentle.go", promise: "P3",
			old:   "\t\tif err := g.file.WriteBack(g.given, g.offset-g.given); err != nil {\n\t\t\treturn err\n\t\t}\n",
			new:   "\t\t_ = g.file.WriteBack(g.given, g.offset-g.given)\n",
			layer: behaviour("TestSnapshotFails"),
		},
		{
			name: "a segment whose zeros the disk did not take is used", file: "internal/vfs/zeros.go", promise: "P3",
			old:   "\t\t\tif err := file.WriteBack(end-handedZeros, handedZeros); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n",
			new:   "\t\t\t_ = file.WriteBack(end-handedZeros, handedZeros)\n",
			layer: faults("TestP5NextSegmentFailsAheadOfTime"),
		},
		{
			name: "the segment that is being written is forgotten", file: "rotation.go", promise: "P3",
			old: "format.SegmentName(w.segment.header.Number-1)", new: "format.SegmentName(w.segment.header.Number)",
			layer: faults("TestFullSegmentsAreForgotten"),
		},
		{
			name: "a file that is forgotten stays open", file: "internal/vfs/vfs.go", promise: "P10",
			old: "\treturn errors.Join(file.Forget(), file.Close())\n", new: "\treturn file.Forget()\n",
			layer: faults("TestFullSegmentsAreForgotten"),
		},
		{
			name: "only the first part of a file is forgotten", file: "internal/vfs/forget_linux.go", promise: "P3",
			old: "off < size && err == nil; off += forgetBytes", new: "off < min(size, forgetBytes) && err == nil; off += forgetBytes",
			layer: vfsTest("TestForgetGivesMemoryBack"),
		},
		{
			name: "a snapshot's block has the checksum of its last write", file: "internal/format/snapshot.go", promise: "P6",
			old: "crc32.Update(e.block.Checksum, castagnoli, e.buf)", new: "crc32.Checksum(e.buf, castagnoli)",
			layer: behaviour("TestSnapshotFails"),
		},
		{
			name: "two snapshots at once", file: "checkpoint.go", promise: "P3",
			old: "\tif w.checkpoint != nil {\n\t\treturn w.checkpoint, nil\n\t}\n", new: "", layer: actor("TestP3SnapshotMakesNobodyWait"),
		},
		{
			name: "the writer waits for the snapshot", file: "checkpoint.go", promise: "P3",
			old: "\tw.settleCheckpoint()\n\tgrown", new: "\tw.waitCheckpoint()\n\tgrown", layer: hanging(actor("TestP3SnapshotMakesNobodyWait")),
		},
		{
			name: "Close does not wait for the snapshot", file: "walwriter.go", promise: "P10",
			old: "\tw.waitCheckpoint()\n", new: "", layer: actor("TestP3SnapshotMakesNobodyWait"),
		},
		{
			name: "SnapshotBytes is looked at once", file: "checkpoint.go", promise: "SnapshotBytes",
			old: "w.snapshotted, w.snapshotDue = c.info.LastGroup, w.snapshotBytes", new: "w.snapshotted, w.snapshotDue = c.info.LastGroup, 1<<62",
			layer: behaviour("TestSnapshotBytes"),
		},
		{
			name: "a snapshot that failed is tried again with every group", file: "checkpoint.go", promise: "SnapshotBytes",
			old: "\tw.snapshotDue = grown + w.snapshotBytes // if", new: "\t// if", layer: behaviour("TestSnapshotBytes"),
		},
	}
}

// restores is about stores made of backups.
func restores() []mutation {
	return []mutation{
		{
			name: "Restore overwrites a store", file: "restore.go", promise: "restore",
			old: "if !files.Empty() {", new: "if len(files.Segments) > 1 {", layer: behaviour("TestRestoreRefuses"),
		},
		{
			name: "Restore verifies no pairs", file: "restore.go", promise: "P6",
			old: "\tt, err := loadPairs(snapshot)\n\tif err != nil {\n\t\treturn err\n\t}\n\tt.Release()\n", new: "",
			layer: behaviour("TestRestoreRefuses"),
		},
		{
			name: "a restored store is not synced", file: "directory.go", promise: "P1",
			old: "\tif err == nil {\n\t\terr = vfs.SyncAside(file)\n\t}\n", new: "\tif err == nil && name[0] != 's' {\n\t\terr = vfs.SyncAside(file)\n\t}\n", layer: promise("TestRestoreAgainstCrashes"),
		},
		{
			name: "a restored store's name is not durable", file: "restore.go", promise: "P1",
			old: "\treturn syncDir(dir)\n", new: "\treturn nil\n", layer: promise("TestRestoreAgainstCrashes"),
		},
		{
			name: "a restored store keeps the identity of the other", file: "restore.go", promise: "restore",
			old: "\t_, _ = rand.Read(info.ID[:]) // never", new: "\t_, _ = rand.Read(nil) // never", layer: behaviour("TestBackupAndRestore"),
		},
		{
			name: "a failed Restore leaves its file", file: "directory.go", promise: "restore",
			old: "discard(dir, temporary, err)", new: "err", layer: behaviour("TestRestoreRefuses"),
		},
	}
}

// conditions is about CompareAndSwap.
func conditions() []mutation {
	return []mutation{
		{
			name: "a condition does not see what is ahead of it in its group", file: "condition.go", promise: "CompareAndSwap",
			old: "\t\t\tahead[string(op.Key)] = op\n", new: "\t\t\t_ = op\n", layer: actor("TestCompareAndSwapInAGroup"),
		},
		{
			name: "a condition takes an empty value for an absent one", file: "condition.go", promise: "CompareAndSwap",
			old: "present: old != nil,", new: "present: len(old) > 0,", layer: behaviour("TestCompareAndSwap"),
		},
		{
			name: "a value that was deleted in the same group counts", file: "condition.go", promise: "CompareAndSwap",
			old: "ok && !op.Delete", new: "ok", layer: actor("TestCompareAndSwapInAGroup"),
		},
		{
			name: "false is answered at once", file: "condition.go", promise: "P3",
			old: "\t\t\t\tcontinue\n", new: "\t\t\t\tc.answer <- nil\n\t\t\t\tcontinue\n", layer: actor("TestP3FalseWaitsForWhatItDependsOn"),
		},
		{
			name: "swapped although the write failed", file: "condition.go", promise: "P5",
			old: "return err == nil && only.met, err", new: "return only.met, err", layer: behaviour("TestCompareAndSwapIsRefused"),
		},
		{
			name: "a command's condition stays in the pool", file: "commands.go", promise: "CompareAndSwap",
			old: "c.condition, c.next = c.entries[:0], 0, 0, nil, nil", new: "_, c.next = c.entries[:0], 0, 0, any(nil), nil", layer: behaviour("TestSetAfterCompareAndSwap"),
		},
	}
}

// limits is about the bounds on what goes in.
func limits() []mutation {
	return []mutation{
		{
			name: "a key may be one byte too long", file: "commands.go", promise: "P12",
			old:   "\tcase len(key) > MaxKeyBytes:",
			new:   "\tcase len(key) > MaxKeyBytes+1:",
			layer: behaviour("TestP12Keys"),
		},
		{
			name: "a value as long as it may be is refused", file: "commands.go", promise: "P12",
			old:   "\tcase len(value) > MaxValueBytes:",
			new:   "\tcase len(value) >= MaxValueBytes:",
			layer: behaviour("TestP12LargestValue"),
		},
		{
			name: "a batch as large as it may be is refused", file: "commands.go", promise: "P12",
			old:   "size > MaxBatchBytes:",
			new:   "size >= MaxBatchBytes:",
			layer: behaviour("TestP12BatchTooLarge"),
		},
		{
			name: "a store may have one key too many", file: "walwriter.go", promise: "P12",
			old:   "\treturn uint64(w.table.Len())+uint64(sets) <= w.maxKeys",
			new:   "\treturn uint64(w.table.Len())+uint64(sets) <= w.maxKeys+1",
			layer: behaviour("TestP12MaxKeys"),
		},
		{
			name: "a key that is replaced counts twice", file: "walwriter.go", promise: "P12",
			old:   "\t\tcase !was && !op.Delete:",
			new:   "\t\tcase !op.Delete:",
			layer: behaviour("TestP12MaxKeys"),
		},
		{
			name: "limits are looked at after everything else", file: "engine.go", promise: "P12",
			old:   "\tif b.err != nil {\n\t\treturn b.err\n\t}\n\treturn s.admit(ctx)",
			new:   "\tif err := s.admit(ctx); err != nil {\n\t\treturn err\n\t}\n\treturn b.err",
			layer: behaviour("TestP12OrderOfChecks"),
		},
	}
}
