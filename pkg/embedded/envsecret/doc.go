// Package envsecret is the secrets of the embedded platform: the environment
// and files, for one machine and its one user.
//
// The secret "model-key" is looked up, in this order, in the environment
// variable CODEXGW_SECRET_MODEL_KEY, in the file DIR/model-key, and, for
// openai-api-key only, in OPENAI_API_KEY. Files are read each time, so that a
// rotation needs no restart. A name never leaves DIR. package embedded opens
// it under secret.Secrets.
package envsecret
