package main

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

// mutations returns all planted faults.
func mutations() []mutation {
	var all []mutation
	for _, part := range [][]mutation{
		durabilityOfWrites(), durabilityOfFiles(), recoveries(), judgements(), lengths(), failures(), actors(), memory(), limits(),
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
			old:   "\tw.status.syncs.Add(1)\n\treturn w.sync()",
			new:   "\tw.status.syncs.Add(1)\n\treturn nil",
			layer: explorer(),
		},
		{
			name: "a group is acknowledged while its fsync is under way", file: "walwriter.go", promise: "P1",
			old:   "\tw.status.syncs.Add(1)\n\treturn w.sync()",
			new:   "\tw.durable = w.written\n\tw.spawn(w.segment.sync)\n\treturn nil",
			layer: promise("TestP3EveryOperationHangs"),
		},
		{
			name: "a group is visible before its fsync", file: "walwriter.go", promise: "P3",
			old:   "\tw.status.syncs.Add(1)\n\treturn w.sync()",
			new:   "\tfor _, c := range w.group {\n\t\tfor op := range entryOps(c.entries) {\n\t\t\tw.table.Apply([]table.Op{op}, w.version)\n\t\t}\n\t}\n\treturn w.sync()",
			layer: promise("TestP3EveryOperationHangs"),
		},
		{
			name: "a group is visible before its pwrite", file: "walwriter.go", promise: "P3",
			old:   "\tif err := w.segment.append(buf); err != nil {",
			new:   "\tfor _, c := range w.group {\n\t\tfor op := range entryOps(c.entries) {\n\t\t\tw.table.Apply([]table.Op{op}, w.version)\n\t\t}\n\t}\n\tif err := w.segment.append(buf); err != nil {",
			layer: promise("TestP3EveryOperationHangs"),
		},
		{
			name: "callers are answered before readers can see what they wrote", file: "walwriter.go", promise: "P3",
			old: "\tif err == nil {\n\t\tw.apply()\n\t}\n\tweight := int64(0)\n\tfor _, c := range w.group {\n" +
				"\t\tweight += c.weight\n\t\tc.finish(err) // now it is its caller's again\n\t}\n",
			new: "\tweight := int64(0)\n\tfor i, c := range w.group {\n\t\tweight += c.weight\n\t\tkept := *c\n" +
				"\t\tkept.entries = slices.Clone(c.entries)\n\t\tw.group[i] = &kept\n\t\tc.finish(err)\n\t}\n" +
				"\tif err == nil {\n\t\tw.apply()\n\t}\n",
			layer: behaviour("TestP3AnsweredIsVisible"),
		},
		{
			name: "with SyncWrites false a group stays in the process's memory", file: "walwriter.go", promise: "P1",
			old:   "\tif err := w.append(size); err != nil {",
			new:   "\tif !w.syncWrites {\n\t\treturn nil\n\t}\n\tif err := w.append(size); err != nil {",
			layer: layer{name: "L5 SIGKILL", tests: "TestKillLosesNoAcknowledgedWrite"},
		},
		{
			name: "a group is written a byte short", file: "segment.go", promise: "P1",
			old:   "s.file.WriteAt(b, s.offset)",
			new:   "s.file.WriteAt(b[:max(len(b)-1, segmentEntryBytes)], s.offset)",
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
			name: "an END vouches for groups that are written and not synced", file: "walwriter.go", promise: "P6",
			old:   "endRecord{group: w.written, durable: w.durable}",
			new:   "endRecord{group: w.written, durable: w.written}",
			layer: explorer(),
		},
		{
			name: "the next segment has its name before the END of the one before is synced", file: "walwriter.go", promise: "P6",
			old:   "\terr := w.end()\n\tif err == nil {\n\t\terr = next.publish(w.dir)\n\t}",
			new:   "\terr := next.publish(w.dir)\n\tif err == nil {\n\t\terr = w.end()\n\t}",
			layer: explorer(),
		},
		{
			name: "all commits of a group have one version", file: "walwriter.go", promise: "P13",
			old:   "setTimestamps(c.entries, version+int64(i))",
			new:   "setTimestamps(c.entries, version+0*int64(i))",
			layer: behaviour("TestP13VersionsRise"),
		},
		{
			name: "versions go back with the clock", file: "walwriter.go", promise: "P13",
			old:   "version := max(w.now().UnixNano(), w.version+1)",
			new:   "version := w.now().UnixNano()",
			layer: behaviour("TestP13VersionsRise"),
		},
		{
			name: "versions go back with the clock when the store is opened again", file: "engine.go", promise: "P13",
			old:   "version: r.table.Version(), snapshotted",
			new:   "snapshotted",
			layer: behaviour("TestP13VersionsRise"),
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
			old:   "\tif err == nil {\n\t\terr = file.Sync()\n\t}\n",
			new:   "",
			layer: explorer(),
		},
		{
			name: "a snapshot has its name before it is synced", file: "snapshot.go", promise: "P1",
			old:   "\tif err == nil {\n\t\terr = file.Sync()\n\t}\n",
			new:   "",
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
				"\tif err != nil {\n\t\treturn err\n\t}\n\treturn removeAll(w.dir, append(files.below(number), covered...))",
			new: "\tfiles, err := list(w.dir)\n\tif err != nil {\n\t\treturn err\n\t}\n" +
				"\tif err := removeAll(w.dir, append(files.below(number), covered...)); err != nil {\n\t\treturn err\n\t}\n" +
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
			name: "the directories above the data directory are not synced", file: "directory.go", promise: "P3",
			old:   "\tif err := syncName(fsys, parent); err != nil {\n\t\treturn err\n\t}\n\tif err := fsys.Mkdir(path)",
			new:   "\tif err := fsys.Mkdir(path)",
			layer: explorer(),
		},
		{
			name: "a directory that Open has made may be one that it cannot sync", file: "directory.go", promise: "P3",
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

// recoveries is about the half of recovery that writes.
func recoveries() []mutation {
	return []mutation{
		{
			name: "recovery appends END, and does not rewrite the groups that nothing proves durable", file: "recovery.go", promise: "P3",
			old: "\t\tif err := replaceFile(r.dir, segmentName(s.number), s.bytes); err != nil {",
			new: "\t\tfile, err := r.dir.Open(segmentName(s.number))\n\t\tif err == nil {\n\t\t\tat := len(s.bytes) - endEntryBytes\n" +
				"\t\t\t_, err = file.WriteAt(s.bytes[at:], int64(at))\n" +
				"\t\t\terr = errors.Join(err, file.Sync(), file.Close())\n\t\t}\n\t\tif err != nil {",
			layer: promise("TestP3RecoveryRewritesLargeGroups"),
		},
		{
			name: "recovery writes in the same place what may be in the cache alone", file: "recovery.go", promise: "P3",
			old: "\t\tif err := replaceFile(r.dir, segmentName(s.number), s.bytes); err != nil {",
			new: "\t\tfile, err := r.dir.Open(segmentName(s.number))\n\t\tif err == nil {\n" +
				"\t\t\t_, err = file.WriteAt(append(slices.Clip(s.bytes), make([]byte, 8192)...), 0)\n" +
				"\t\t\terr = errors.Join(err, file.Sync(), file.Close())\n\t\t}\n\t\tif err != nil {",
			layer: explorer(),
		},
		{
			name: "recovery leaves the torn tail behind its END", file: "recovery.go", promise: "P6",
			old: "\t\tif err := replaceFile(r.dir, segmentName(s.number), s.bytes); err != nil {",
			new: "\t\ttorn, _ := readSegment(r.dir, s.number)\n" +
				"\t\ts.bytes = append(slices.Clip(s.bytes), torn[min(len(torn), len(s.bytes)):]...)\n" +
				"\t\tif err := replaceFile(r.dir, segmentName(s.number), s.bytes); err != nil {",
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
			name: "recovery's new file has its name before it is synced", file: "recovery.go", promise: "P3",
			old:   "\tif err == nil {\n\t\terr = file.Sync()\n\t}\n",
			new:   "",
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
			old:   "\t\theader.number = r.last + 1",
			new:   "\t\theader.number = r.last",
			layer: explorer(),
		},
		{
			name: "Open removes what the snapshot covers before it is durable", file: "recovery.go", promise: "P3",
			old:   "\tif err := removeAll(r.dir, r.files.temporary); err != nil {",
			new:   "\tif err := removeAll(r.dir, append(r.files.below(r.snapshot), r.files.temporary...)); err != nil {",
			layer: promise("TestP3CrashInCloseThenInOpen"),
		},
		{
			name: "the oldest snapshot is loaded", file: "recovery.go", promise: "P6",
			old:   "r.snapshot = r.files.snapshots[len(r.files.snapshots)-1]",
			new:   "r.snapshot = r.files.snapshots[0]",
			layer: bytesOf("TestP6WhatIsNotJudged"),
		},
		{
			name: "a torn tail is not reported", file: "recovery.go", promise: "P6",
			old:   "; len(tail) > 0 {",
			new:   "; len(tail) < 0 {",
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

// judgements is about what is a torn tail, what is damage, and what is ours.
func judgements() []mutation {
	return []mutation{
		{
			name: "a segment under another's name is accepted", file: "recovery.go", promise: "P6",
			old:   "\tcase h.number != s.number:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a snapshot under another's name is accepted", file: "snapshot.go", promise: "P6",
			old:   "\tif r.info.number != number {",
			new:   "\tif false {",
			layer: bytesOf("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a segment of another store is accepted", file: "recovery.go", promise: "P6",
			old:   "\tcase r.knowsID && h.id != r.id:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a group that is not the next one is accepted", file: "recovery.go", promise: "P6",
			old:   "\tif g.number != r.lastGroup+1 {",
			new:   "\tif false {",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a gap between segments is accepted", file: "recovery.go", promise: "P6",
			old:   "missing := first + uint64(i); number != missing {",
			new:   "missing := first + uint64(i); number < missing {",
			layer: bytesOf("TestP6GapBeforeAnEmptySegment"),
		},
		{
			name: "a bad spot in a segment that is not the last is a torn tail", file: "recovery.go", promise: "P6",
			old:   "\tif !ended && !isLast {",
			new:   "\tif false {",
			layer: bytesOf("TestP6DamageIsRefused"),
		},
		{
			name: "an END of any group ends a segment", file: "recovery.go", promise: "P6",
			old:   "\tended = ended && end.group == r.lastGroup\n",
			new:   "\t_ = end\n",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "recovery stops at the first bad group, whatever lies behind it", file: "recovery.go", promise: "P6",
			old:   "durable, at := s.durableBehind(offset)",
			new:   "durable, at := uint64(0), 0",
			layer: bytesOf("TestP6DamageIsRefused"),
		},
		{
			name: "only the first witness behind a bad group is heard", file: "codec.go", promise: "P6",
			old:   "\t\t\tdurable, at = d, offset\n",
			new:   "\t\t\treturn d, offset\n",
			layer: bytesOf("TestDurableBehind"),
		},
		{
			name: "an END behind a bad group is no witness", file: "codec.go", promise: "P6",
			old:   "\tif end, ok := s.endAt(offset); ok {\n\t\treturn end.durable\n\t}\n",
			new:   "",
			layer: bytesOf("TestDurableBehind"),
		},
		{
			name: "a group's checksum is not looked at", file: "codec.go", promise: "P6",
			old:   "c.checksum == crc32.Update(s.seed(offset), castagnoli, body)",
			new:   "c.checksum^c.checksum == 0",
			layer: bytesOf("TestP6EveryBitOfTheLog"),
		},
		{
			name: "a COMMIT's own checksum is not looked at", file: "codec.go", promise: "P6",
			old:   "\treturn c, entryIsSealed(s.data[offset:offset+e.size()], s.seed(offset-int(c.length)))",
			new:   "\treturn c, true",
			layer: bytesOf("TestDurableBehind"),
		},
		{
			name: "an END's checksum is not looked at", file: "codec.go", promise: "P6",
			old:   "|| !e.isControl(opEnd, endValueBytes) || !entryIsSealed(s.data[offset:offset+e.size()], s.seed(offset)) {",
			new:   "|| !e.isControl(opEnd, endValueBytes) {",
			layer: bytesOf("TestDurableBehind"),
		},
		{
			name: "a SEGMENT entry's checksum is not looked at", file: "codec.go", promise: "P6",
			old:   "|| len(e.value) < 8 || !entryIsSealed(b[:e.size()], 0) {",
			new:   "|| len(e.value) < 8 {",
			layer: bytesOf("TestP6EveryBitOfTheLog"),
		},
		{
			name: "a group is whole wherever it lies, in a value too", file: "codec.go", promise: "P6",
			old:   "\tbinary.BigEndian.PutUint64(b[24:], uint64(offset))",
			new:   "\tbinary.BigEndian.PutUint64(b[24:], 0)",
			layer: bytesOf("TestGroupsAreBoundToTheirPlace"),
		},
		{
			name: "a snapshot block's checksum is not looked at", file: "snapshot.go", promise: "P6",
			old:   "\tif crc32.Checksum(b, castagnoli) != block.checksum {",
			new:   "\tif false {",
			layer: bytesOf("TestP6EveryBitOfTheSnapshot"),
		},
		{
			name: "the snapshot trailer's checksum is not looked at", file: "snapshot.go", promise: "P6",
			old:   "\tif !entryIsSealed(tail, 0) {",
			new:   "\tif false {",
			layer: bytesOf("TestP6EveryBitOfTheSnapshot"),
		},
		{
			name: "a segment of a later version is damage", file: "recovery.go", promise: "P8",
			old:   "\tcase h.version > formatVersion:",
			new:   "\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "a snapshot of a later version is accepted", file: "snapshot.go", promise: "P8",
			old:   "\tcase footer.version > formatVersion:",
			new:   "\tcase false:",
			layer: bytesOf("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a DELETE with a value is accepted", file: "recovery.go", promise: "P8",
			old:   "\t\t\tcase e.op == opDelete && len(e.value) > 0:",
			new:   "\t\t\tcase false:",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
		{
			name: "an unknown op is taken for a SET", file: "recovery.go", promise: "P8",
			old:   "\tif g.strange {",
			new:   "\tif false {",
			layer: bytesOf("TestSealedBytesAreJudged"),
		},
	}
}

// lengths is about numbers from disk.
func lengths() []mutation {
	return []mutation{
		{
			name: "an entry's key length is believed", file: "codec.go", promise: "P11",
			old:   "\tif keyLen > uint64(len(b)-entryOverhead) {",
			new:   "\tif false {",
			layer: bytesOf("TestP11LengthBombs"),
		},
		{
			name: "an entry's key length may be 4 too large", file: "codec.go", promise: "P11",
			old:   "\tif keyLen > uint64(len(b)-entryOverhead) {",
			new:   "\tif keyLen > uint64(len(b)-entryOverhead+4) {",
			layer: bytesOf("TestP11LengthsNearTheRightOne"),
		},
		{
			name: "an entry's value length is believed", file: "codec.go", promise: "P11",
			old:   "\tif valueLen > uint64(len(rest)-4) {\n\t\treturn entry{}, false",
			new:   "\tif false {\n\t\treturn entry{}, false",
			layer: bytesOf("TestP11LengthBombs"),
		},
		{
			name: "a pair's value length is believed", file: "codec.go", promise: "P11",
			old:   "\tif valueLen > uint64(len(rest)-4) {\n\t\treturn nil, nil, 0, false",
			new:   "\tif false {\n\t\treturn nil, nil, 0, false",
			layer: bytesOf("TestP11LengthBombs"),
		},
		{
			name: "a pair's key length may be 4 too large", file: "codec.go", promise: "P11",
			old:   "\tif keyLen > uint64(len(b)-pairOverhead) {",
			new:   "\tif keyLen > uint64(len(b)-4) {",
			layer: bytesOf("TestP11LengthsNearTheRightOne"),
		},
		{
			name: "a COMMIT's length is believed", file: "codec.go", promise: "P11",
			old:   "\tif c.length > uint64(offset) {",
			new:   "\tif c.length > uint64(offset)+1 {",
			layer: bytesOf("TestP11CommitLengthBombs"),
		},
		{
			name: "the snapshot trailer's length is believed", file: "snapshot.go", promise: "P11",
			old:   "\tif footer.trailerBytes > min(footerAt-snapshotHeaderBytes, maxSnapshotTrailerBytes) {",
			new:   "\tif false {",
			layer: bytesOf("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a snapshot block may begin anywhere", file: "codec.go", promise: "P11",
			old:   "\t\tif b.offset != next || end <= b.offset ||",
			new:   "\t\tif end <= b.offset ||",
			layer: bytesOf("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a snapshot block may end before it begins", file: "codec.go", promise: "P11",
			old:   "\t\tif b.offset != next || end <= b.offset ||",
			new:   "\t\tif b.offset != next ||",
			layer: bytesOf("TestSnapshotDefectsAreRefused"),
		},
		{
			name: "a SEGMENT entry may be as long as the file", file: "codec.go", promise: "P11",
			old:   "decodeEntry(b[:min(len(b), maxSegmentEntryBytes)])",
			new:   "decodeEntry(b)",
			layer: bytesOf("TestSegmentHeaderVersions"),
		},
	}
}

// failures is about errors of the disk.
func failures() []mutation {
	return []mutation{
		{
			name: "an fsync that failed is tried again", file: "segment.go", promise: "P5",
			old:   "\tif err := s.file.Sync(); err != nil {",
			new:   "\tif err := s.file.Sync(); err != nil && s.file.Sync() != nil {",
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
			old:   "\t\tc.finish(err) // now it is its caller's again",
			new:   "\t\tc.finish(err)\n\t\terr = nil",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "what was queued when the store failed is written", file: "walwriter.go", promise: "P5",
			old:   "\tif w.failure != nil {\n\t\treturn w.failure\n\t}\n\tif err := w.admit(); err != nil {",
			new:   "\tif err := w.admit(); err != nil {",
			layer: faults("TestP5BackgroundSyncFailsUnderSync"),
		},
		{
			name: "Close of a failed store writes its snapshot and removes the log", file: "walwriter.go", promise: "P5",
			old:   "\terr := w.failure\n\tif err == nil {\n\t\terr = w.closeLog()\n\t}",
			new:   "\terr := errors.Join(w.failure, w.closeLog())",
			layer: faults("TestP5FirstGroupFails|TestP5FailureIsSticky"),
		},
		{
			name: "a background fsync that failed is forgotten", file: "flush.go", promise: "P5",
			old:   "\tif w.flush.err != nil {",
			new:   "\tif false {",
			layer: faults("TestP5FailedBackgroundSyncIsSticky"),
		},
		{
			name: "a failed rotation does not fail the store", file: "walwriter.go", promise: "P5",
			old:   "\tif err := w.rotate(next); err != nil {\n\t\treturn w.fail(err)\n\t}",
			new:   "\tif err := w.rotate(next); err != nil {\n\t\treturn err\n\t}",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "running out of space in the middle of a group is no failure", file: "walwriter.go", promise: "P5",
			old:   "\tif err := w.append(size); err != nil {\n\t\treturn w.fail(err)\n\t}",
			new:   "\tif err := w.append(size); err != nil {\n\t\tif vfs.IsExhausted(err) {\n\t\t\treturn err\n\t\t}\n\t\treturn w.fail(err)\n\t}",
			layer: faults("TestP5FailureIsSticky"),
		},
		{
			name: "running out of space ahead of a group fails the store", file: "walwriter.go", promise: "P5",
			old:   "\tif vfs.IsExhausted(err) {\n\t\treturn err\n\t}",
			new:   "\tif vfs.IsExhausted(err) {\n\t\treturn w.fail(err)\n\t}",
			layer: faults("TestP5OutOfSpace"),
		},
		{
			name: "END is written before the next segment's space is reserved", file: "walwriter.go", promise: "P5",
			old:   "\tnext, err := w.reserve(size)\n",
			new:   "\tif err := w.end(); err != nil {\n\t\treturn w.fail(err)\n\t}\n\tnext, err := w.reserve(size)\n",
			layer: faults("TestP5OutOfSpace"),
		},
		{
			name: "a segment that could not be reserved stays open", file: "segment.go", promise: "P5",
			old:   "discard(dir, s.name+tmpSuffix, errors.Join(err, file.Close()))",
			new:   "discard(dir, s.name+tmpSuffix, errors.Join(err))",
			layer: faults("TestP7FailedOpenFreesTheLock"),
		},
		{
			name: "a segment that could not be reserved stays on the full disk", file: "segment.go", promise: "P5",
			old:   "discard(dir, s.name+tmpSuffix, errors.Join(err, file.Close()))",
			new:   "errors.Join(err, file.Close())",
			layer: faults("TestP5OutOfSpace"),
		},
		{
			name: "a full disk has to have room for a large segment", file: "segment.go", promise: "P5",
			old:   "\tif vfs.IsExhausted(err) && need < size {",
			new:   "\tif false {",
			layer: faults("TestP5ShortOfSpace"),
		},
		{
			name: "a group takes the room that END needs", file: "segment.go", promise: "P5",
			old:   "s.offset+groupBytes+endEntryBytes <= s.size",
			new:   "s.offset+groupBytes <= s.size",
			layer: faults("TestP5NoWriteBeyondTheReservedSpace"),
		},
		{
			name: "the next segment is made without room for END", file: "walwriter.go", promise: "P5",
			old:   "segmentEntryBytes+size+endEntryBytes)",
			new:   "segmentEntryBytes+size)",
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
			name: "a closed queue takes commands that nobody will answer", file: "queue.go", promise: "P10",
			old:   "\tif q.closed {\n\t\tq.bytes.Release(weight)\n\t\treturn ErrClosed\n\t}",
			new:   "\tif false {\n\t\tq.bytes.Release(weight)\n\t\treturn ErrClosed\n\t}",
			layer: actor("TestP10CallsThatMeetClose"),
		},
		{
			name: "sending does not exclude closing", file: "queue.go", promise: "P10",
			old:   "\tq.gate.RLock()\n\tdefer q.gate.RUnlock()\n",
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
			name: "who waits for room in the queue does not hear of Close", file: "queue.go", promise: "P10",
			old:   "\tdefer context.AfterFunc(q.closing, cancel)()\n",
			new:   "",
			layer: actor("TestP10CloseOnAStalledDisk"),
		},
		{
			name: "the queue's bytes are never given back", file: "walwriter.go", promise: "P10",
			old:   "\tw.queue.bytes.Release(weight)",
			new:   "\t_ = weight",
			layer: actor("TestP5FailureReleasesTheQueue"),
		},
		{
			name: "each Sync makes the queue smaller", file: "walwriter.go", promise: "P10",
			old:   "\t\t\tw.queue.bytes.Release(minCommandBytes)\n",
			new:   "",
			layer: actor("TestP10QueueKeepsItsSize"),
		},
		{
			name: "a command that was left for the next group is lost", file: "walwriter.go", promise: "P10",
			old:   "\t\t\tw.held = write // to be looked at alone: see admit",
			new:   "\t\t\t_ = write",
			layer: actor("TestP12MaxKeysInOneGroup"),
		},
		{
			name: "a command larger than the queue waits for ever", file: "queue.go", promise: "P12",
			old:   "int64(min(max(n, minCommandBytes), maxQueuedBytes))",
			new:   "int64(max(n, minCommandBytes))",
			layer: actor("TestP10QueueKeepsItsSize"),
		},
		{
			name: "Sync's fsync begins while the background one is under way", file: "walwriter.go", promise: "P5",
			old:   "\tw.waitFlush()\n\tif w.failure != nil || w.durable == w.written {",
			new:   "\tw.settleFlush()\n\tif w.failure != nil || w.durable == w.written {",
			layer: actor("TestP5BackgroundSyncFailsUnderSync"),
		},
		{
			name: "END's fsync begins while the background one is under way", file: "walwriter.go", promise: "P5",
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
	}
}

// memory is about the table, and whose bytes are whose.
func memory() []mutation {
	inTable := layer{name: "L0 table", pkg: "internal/table"}
	tableTest := func(tests string) layer {
		l := inTable
		l.tests = tests
		return l
	}
	return []mutation{
		{
			name: "a batch is applied write by write", file: "walwriter.go", promise: "P4",
			old:   "\t\tw.table.Apply(w.ops, version+int64(i))",
			new:   "\t\tfor j := range w.ops {\n\t\t\tw.table.Apply(w.ops[j:j+1], version+int64(i))\n\t\t}",
			layer: behaviour("TestP4BatchesAreSeenWhole"),
		},
		{
			name: "a batch takes its shards' locks one after the other", file: "internal/table/table.go", promise: "P4",
			old:   "\ttouched := t.touched(ops)\n",
			new:   "\tif len(ops) > 1 {\n\t\tt.Load(ops, version)\n\t\treturn\n\t}\n\ttouched := t.touched(ops)\n",
			layer: tableTest("TestCommitsAreSeenWhole"),
		},
		{
			name: "Len changes after the locks of a batch are free", file: "internal/table/table.go", promise: "P4",
			old: "\tt.length.Add(grown)\n\tt.version.Store(version)\n\tfor i := range t.shards {\n\t\tif touched[i] {\n" +
				"\t\t\tt.shards[i].mu.Unlock()\n\t\t}\n\t}\n",
			new: "\tfor i := range t.shards {\n\t\tif touched[i] {\n\t\t\tt.shards[i].mu.Unlock()\n\t\t}\n\t}\n" +
				"\tt.length.Add(grown)\n\tt.version.Store(version)\n",
			layer: tableTest("TestCommitsAreSeenWhole"),
		},
		{
			name: "Keys looks at one shard after the other", file: "internal/table/table.go", promise: "P4",
			old: "\tfor i := range t.shards {\n\t\tt.shards[i].mu.RLock()\n\t}\n\tdefer func() {\n\t\tfor i := range t.shards {\n" +
				"\t\t\tt.shards[i].mu.RUnlock()\n\t\t}\n\t}()\n\tkeys := make([]string, 0, t.Len())\n\tfor i := range t.shards {\n" +
				"\t\tfor key := range t.shards[i].entries {\n\t\t\tkeys = append(keys, key)\n\t\t}\n",
			new: "\tkeys := make([]string, 0, t.Len())\n\tfor i := range t.shards {\n\t\tt.shards[i].mu.RLock()\n" +
				"\t\tfor key := range t.shards[i].entries {\n\t\t\tkeys = append(keys, key)\n\t\t}\n\t\tt.shards[i].mu.RUnlock()\n",
			layer: tableTest("TestCommitsAreSeenWhole"),
		},
		{
			name: "Get reads without its shard's lock", file: "internal/table/table.go", promise: "P3",
			old:   "\ts.mu.RLock()\n\tdefer s.mu.RUnlock()\n\tvalue, ok := s.entries[key]",
			new:   "\tvalue, ok := s.entries[key]",
			layer: layer{name: "L0 race detector", pkg: "internal/table", tests: "TestCommitsAreSeenWhole", race: true},
		},
		{
			name: "the table keeps its caller's bytes", file: "internal/table/table.go", promise: "P9",
			old:   "append(make([]byte, 0, len(op.Value)), op.Value...)",
			new:   "op.Value",
			layer: tableTest("TestCopiesInAndOut"),
		},
		{
			name: "Get returns the table's bytes", file: "internal/table/table.go", promise: "P9",
			old:   "\treturn append(dst, value...), true",
			new:   "\tif dst == nil {\n\t\treturn value, true\n\t}\n\treturn append(dst, value...), true",
			layer: behaviour("TestP9OwnershipOfKeysAndValues"),
		},
		{
			name: "a queued command shares the bytes of its batch", file: "commands.go", promise: "P9",
			old:   "\tc.entries = append(c.entries[:0], b.entries...)",
			new:   "\tc.entries = b.entries",
			layer: actor("TestP9QueuedCommandsOwnTheirBytes"),
		},
		{
			name: "an empty value is read as none", file: "engine.go", promise: "P9",
			old:   "\tif ok && value == nil {",
			new:   "\tif false {",
			layer: behaviour("TestP9EmptyValues"),
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
			old:   "size > MaxBatchBytes {",
			new:   "size >= MaxBatchBytes {",
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
