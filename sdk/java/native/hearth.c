/*
 * What Java can't do of its own process: see Native.java, whose methods these are. Each is called by one thread, before
 * the function's code runs. With a pending exception they return at once; the caller throws it.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <jni.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_BYTES 65536

static int write_all(int socket, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(socket, bytes, length);
    if (written < 0 && errno != EINTR) {
      return 0;
    }
    bytes += written < 0 ? 0 : written;
    length -= written < 0 ? 0 : (size_t)written;
  }
  return 1;
}

JNIEXPORT jbyteArray JNICALL Java_hearth_Native_talk(JNIEnv *env, jclass type, jint socket, jbyteArray ready) {
  (void)type;
  jsize ready_length = (*env)->GetArrayLength(env, ready);
  jbyte *said = (*env)->GetByteArrayElements(env, ready, NULL);
  if (said == NULL) {
    return NULL;
  }
  write_all(socket, (char *)said, (size_t)ready_length);
  (*env)->ReleaseByteArrayElements(env, ready, said, JNI_ABORT);
  char *heard = NULL;
  size_t length = 0, room = 0;
  for (;;) {
    if (length == room) {
      char *larger = realloc(heard, room += CHUNK_BYTES);
      if (larger == NULL) {
        length = 0;
        break;
      }
      heard = larger;
    }
    ssize_t got = read(socket, heard + length, room - length);
    if (got == 0 || (got < 0 && errno != EINTR)) {
      break;
    }
    length += got < 0 ? 0 : (size_t)got;
  }
  close(socket);
  jbyteArray document = (*env)->NewByteArray(env, (jsize)length);
  if (document != NULL) {
    (*env)->SetByteArrayRegion(env, document, 0, (jsize)length, (jbyte *)heard);
  }
  free(heard);
  return document;
}

JNIEXPORT jboolean JNICALL
Java_hearth_Native_become(JNIEnv *env, jclass type, jbyteArray variables, jbyteArray directory) {
  (void)type;
  jsize length = (*env)->GetArrayLength(env, variables);
  jbyte *all = (*env)->GetByteArrayElements(env, variables, NULL);
  jbyte *place = (*env)->GetByteArrayElements(env, directory, NULL);
  if (all == NULL || place == NULL) {
    return JNI_FALSE;
  }
  clearenv();
  for (char *variable = (char *)all; variable < (char *)all + length; variable += strlen(variable) + 1) {
    /* The environment keeps what it is given: a copy, for good. */
    putenv(strdup(variable));
  }
  tzset();
  int entered = chdir((char *)place) == 0;
  (*env)->ReleaseByteArrayElements(env, variables, all, JNI_ABORT);
  (*env)->ReleaseByteArrayElements(env, directory, place, JNI_ABORT);
  return entered ? JNI_TRUE : JNI_FALSE;
}

/* What Java shows as unmodifiable is a map in a map. Processes are started with what the C library has. */
JNIEXPORT void JNICALL
Java_hearth_Native_change(JNIEnv *env, jclass type, jobject environment, jstring name, jstring value) {
  (void)type;
  jfieldID inner = (*env)->GetFieldID(env, (*env)->GetObjectClass(env, environment), "m", "Ljava/util/Map;");
  if (inner == NULL) {
    return;
  }
  jobject map = (*env)->GetObjectField(env, environment, inner);
  jclass maps = (*env)->FindClass(env, "java/util/Map");
  jmethodID put = (*env)->GetMethodID(env, maps, "put", "(Ljava/lang/Object;Ljava/lang/Object;)Ljava/lang/Object;");
  if (put != NULL) {
    (*env)->CallObjectMethod(env, map, put, name, value);
  }
  const char *plain_name = (*env)->GetStringUTFChars(env, name, NULL);
  const char *plain_value = (*env)->GetStringUTFChars(env, value, NULL);
  if (plain_name != NULL && plain_value != NULL) {
    setenv(plain_name, plain_value, 1);
    (*env)->ReleaseStringUTFChars(env, name, plain_name);
    (*env)->ReleaseStringUTFChars(env, value, plain_value);
  }
}

/* A field that another version of Java does not have is passed over: there is nothing to set there, then. */
JNIEXPORT void JNICALL Java_hearth_Native_reseed(JNIEnv *env, jclass type, jlong seed) {
  (void)type;
  jclass random = (*env)->FindClass(env, "java/util/concurrent/ThreadLocalRandom");
  jclass number = (*env)->FindClass(env, "java/util/concurrent/atomic/AtomicLong");
  jclass thread = (*env)->FindClass(env, "java/lang/Thread");
  if (random == NULL || number == NULL || thread == NULL) {
    (*env)->ExceptionClear(env);
    return;
  }
  jfieldID seeder = (*env)->GetStaticFieldID(env, random, "seeder", "Ljava/util/concurrent/atomic/AtomicLong;");
  jmethodID set = (*env)->GetMethodID(env, number, "set", "(J)V");
  if (seeder != NULL && set != NULL) {
    (*env)->CallVoidMethod(env, (*env)->GetStaticObjectField(env, random, seeder), set, seed);
  }
  (*env)->ExceptionClear(env);
  /* This thread has drawn from the old one: without a probe it begins anew. */
  jmethodID current = (*env)->GetStaticMethodID(env, thread, "currentThread", "()Ljava/lang/Thread;");
  jfieldID probe = (*env)->GetFieldID(env, thread, "threadLocalRandomProbe", "I");
  if (current != NULL && probe != NULL) {
    (*env)->SetIntField(env, (*env)->CallStaticObjectMethod(env, thread, current), probe, 0);
  }
  (*env)->ExceptionClear(env);
}
