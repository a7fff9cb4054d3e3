// Package experiments designs the phases of a plan that the claims of a configuration need: what to send, which
// faults to inject, and in which order. Requirements that can share a phase do, and phases that disturb others come
// last. It knows no single check and no configuration syntax: checks state what they need as requirements, and package
// scenarios turns faults into events. Scenarios that users write do not pass through here.
//
// To add something that a requirement can ask for: add a field to check.Requirement, merge it in pack.go, and write it
// to the phase in designer.go.
package experiments
