// Package experiments designs the phases of a plan that the claims of a configuration need: what to send, what
// to break, and in which order. It packs trials that can share a phase, and gives phases that disturb others a
// place after them. It knows no single check and no configuration's notation: checks say what they need as
// trials, and package scenarios turns faults into events. Scenarios that people write do not pass through here.
// To add something that a trial can ask for: a field of check.Trial, where pack joins it, and where a phase is
// written out.
package experiments
