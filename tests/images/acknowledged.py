"""Writes to a store one number after the other, by several threads, until its input ends; prints each number that was acknowledged.

It runs in a notebook's container, with the environment of a notebook: its clients are made as the README makes them.
"""

import os
import sys
import threading
import time

import psycopg2
import pymongo
import redis

env = os.environ
THREADS = 4


def mongo():
    mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
    return lambda number: mongo.demo.notes.insert_one({"_id": number})


def postgres():
    db = psycopg2.connect(host=env["POSTGRES_HOST"], user="slipway", dbname="slipway", password=env["POSTGRES_PASSWORD"])

    def write(number):
        with db, db.cursor() as cursor:
            cursor.execute("INSERT INTO notes VALUES (%s)", (number,))

    return write


def cache():
    cache = redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
    return lambda number: cache.set(f"n{number}", 1)


def work(connect, numbers):
    write = None
    for number in numbers:
        try:
            write = write or connect()
            write(number)
        except (pymongo.errors.PyMongoError, psycopg2.Error, redis.RedisError):
            # Nothing is promised of this one.
            write = None
            time.sleep(0.2)
        else:
            print(number, time.time(), flush=True)


first, connect = int(sys.argv[2]), {"mongo": mongo, "postgres": postgres, "redis": cache}[sys.argv[1]]
for each in range(THREADS):
    threading.Thread(target=work, args=(connect, range(first + each, first + 10**7, THREADS))).start()
sys.stdin.read()
os._exit(0)
