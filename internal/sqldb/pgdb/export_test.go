package pgdb

// Mute loses all notes from now on, as a process does that dies after its commits.
func (db *DB) Mute() {
	db.box.mu.Lock()
	defer db.box.mu.Unlock()
	db.box.mute = true
}

// Settled reports whether what was in progress when db began to listen has ended.
func (db *DB) Settled() bool {
	db.marks.mu.Lock()
	defer db.marks.mu.Unlock()
	return db.marks.begun && !db.marks.again
}
