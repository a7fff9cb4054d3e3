package scenarios

// Formats are the patterns of the schema that errors describe.
var Formats = formats
